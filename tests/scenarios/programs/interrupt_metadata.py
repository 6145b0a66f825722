"""Ctrl-C arrives while a call waits for metadata of a broker that never answers."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any

from tests.scenarios.kit import WORDS, make_producer, say

PLACE = WORDS[0]


def main() -> None:
    """The wait ends at once, what was raised comes out as itself, and the close of the
    producer does not wait for librdkafka."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        producer = make_producer(f"127.0.0.1:{silent.getsockname()[1]}")
        calls: dict[str, Any] = {
            "connect": lambda: producer.connect(30),
            "health": lambda: producer.health(deep=True, timeout=30),
            "partition_count": lambda: producer.partition_count("t"),
            "produce": lambda: producer.produce_async("t", b"", partition_key="k"),
        }
        pressed: list[float] = []

        def press() -> None:
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(0.3, press).start()
        try:
            calls[PLACE]()
        except KeyboardInterrupt:
            say(took=time.monotonic() - pressed[0])
        started = time.monotonic()
        report = producer.close(20)
        say(close_s=time.monotonic() - started, complete=report.complete)
        say(produced=producer.stats().produced)


main()
