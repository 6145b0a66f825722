"""How many of gevent's event loops there are while the library's threads run."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import gevent

from tests.scenarios.green_kit import kit
from waterdrop_py._engine.concurrency import background


def hubs() -> int:
    """Event loops of this process."""
    count = 0
    for each in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # that of the listing itself, or one that just closed
            count += "eventpoll" in os.readlink(each)
    return count


def main() -> None:
    """Before the threads run, while they do, and after user code has yielded there."""
    gevent.sleep(0)
    kit.say(hubs=hubs())
    producer = kit.make_producer()
    producer.produce_sync(kit.TOPIC, b"first")
    background.call(lambda: None)  # a worker runs, beside the poller
    kit.say(hubs=hubs())
    most: list[int] = []
    background.submit(lambda: (gevent.sleep(0.01), most.append(hubs()))[0])  # type: ignore[func-returns-value]
    kit.eventually(lambda: bool(most))
    kit.say(made=most[0] > 1)
    began = time.monotonic()
    producer.close(10)
    kit.say(took=time.monotonic() - began, hubs=hubs())


if __name__ == "__main__":
    main()
