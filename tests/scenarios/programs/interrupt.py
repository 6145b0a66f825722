"""Ctrl-C arrives while a call waits for brokers that are down."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from tests.scenarios.kit import TOPIC, WORDS, make_producer, say
from waterdrop_py.errors import DeliveryTimeoutError

PLACE = WORDS[0]


def main() -> None:
    """The call ends within a second; the producer goes on."""
    producer = make_producer(close_timeout=500)
    handle = producer.produce_async(TOPIC, b"lost")
    calls: dict[str, Any] = {
        "produce_sync": lambda: producer.produce_sync(TOPIC, b"lost", timeout=30),
        "flush": lambda: producer.flush(30),
        "result": lambda: handle.result(30),
        "connect": lambda: producer.connect(30),
        "close": lambda: producer.close(30),
    }
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.4, press).start()
    try:
        calls[PLACE]()
    except KeyboardInterrupt:
        say(took=time.monotonic() - pressed[0])
    if PLACE != "close":
        try:
            producer.produce_sync(TOPIC, b"lost", timeout=0.2)
        except DeliveryTimeoutError:
            say(usable=True)
    started = time.monotonic()
    report = producer.close(0.3)
    say(close_s=time.monotonic() - started, complete=report.complete)
    say(undelivered=len(report.undelivered), resolved=handle.done())


main()
