"""A handler of SIGTERM closes the producer in which the main thread waits."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

from tests.scenarios.kit import TOPIC, WORDS, eventually, make_producer, say
from waterdrop_py.errors import WaterdropError

PLACE = WORDS[0]


def main() -> None:
    """The handler returns in time, and the producer is closed soon after."""
    producer = make_producer(kafka={"message.timeout.ms": 60_000})

    def on_term(*_: object) -> None:
        started = time.monotonic()
        report = producer.close(1)
        say(handler_s=time.monotonic() - started, complete=report.complete)

    signal.signal(signal.SIGTERM, on_term)
    pid = os.getpid()
    threading.Timer(0.5, lambda: os.kill(pid, signal.SIGTERM)).start()
    handle: Any = None
    if PLACE != "produce_sync":
        handle = producer.produce_async(TOPIC, b"lost")
    waits: dict[str, Any] = {
        "produce_sync": lambda: producer.produce_sync(TOPIC, b"lost", timeout=20),
        "flush": lambda: producer.flush(20),
        "result": lambda: handle.result(20),
        "sleep": lambda: time.sleep(2),
    }
    started = time.monotonic()
    try:
        waits[PLACE]()
    except WaterdropError as error:
        say(error=type(error).__name__, code=getattr(error, "code", ""))
    say(waited_s=time.monotonic() - started)
    say(closed=eventually(lambda: str(producer.status) == "closed", 5))
    say(resolved=handle is None or handle.done())
    sys.exit(0)


main()
