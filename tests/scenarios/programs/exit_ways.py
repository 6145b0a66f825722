"""Sends without waiting, and ends in the way that its word says."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time

ACCEPTED: list[int] = []
# Registered before the library's handler, so it runs after it.
atexit.register(lambda: os.write(1, b'{"accepted": %d}\n' % len(ACCEPTED)))

from tests.scenarios.kit import TOPIC, WORDS, make_producer, say  # noqa: E402
from waterdrop_py.errors import ProducerClosedError  # noqa: E402

MESSAGES = 1_000
ERRORS = {"exception": LookupError("the user's own"), "sys.exit": SystemExit(3)}
PRODUCER = make_producer(kafka={"linger.ms": 50})


def send(count: int = MESSAGES, pause: float = 0.0) -> None:
    """Send and note what was accepted, until the producer is closed."""
    for _ in range(count):
        try:
            PRODUCER.produce_async(TOPIC, f"m-{len(ACCEPTED)}".encode())
        except ProducerClosedError:
            return
        ACCEPTED.append(1)
        if pause:
            time.sleep(pause)


def by_signal() -> None:
    """A handler of SIGTERM ends a main thread that waits."""

    def leave(*_: object) -> None:
        say(handler=True)
        sys.exit(3)

    def close(*_: object) -> None:
        report = PRODUCER.close()
        say(handler=report.complete, delivered=report.delivered)

    signal.signal(signal.SIGTERM, close if WORDS[0] == "sigterm-close" else leave)
    send()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)


def main() -> None:
    """One way to end."""
    way = WORDS[0]
    if way == "return":
        send()
    elif way in ERRORS:
        send()
        raise ERRORS[way]
    elif way == "atexit-close":
        atexit.register(lambda: say(handler=PRODUCER.close().complete))
        send()
    elif way.startswith("sigterm"):
        by_signal()
    elif way == "daemon":
        threading.Thread(target=send, args=(10**6, 0.000_1), daemon=True).start()
        time.sleep(0.3)
    elif way == "thread":
        threading.Thread(target=send, args=(500, 0.001)).start()
    elif way == "dropped":
        global PRODUCER  # noqa: PLW0603 - the last reference
        send()
        del PRODUCER


main()
