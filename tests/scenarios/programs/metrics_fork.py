"""Forks again and again while metrics are pushed to prometheus_client's files.

A child that inherited the lock of a push would wait for it for ever.
"""

from __future__ import annotations

import os
import threading
import time

from tests.scenarios.kit import TOPIC, make_producer, say, wait_for_child
from waterdrop_py import monitor
from waterdrop_py.listeners import PrometheusListener
from waterdrop_py.listeners import prometheus as listeners

FORKS = 60
listeners.INTERVAL = 0.0  # type: ignore[misc]
LISTENER = PrometheusListener(topics=True)
monitor.subscribe(LISTENER)
PRODUCER = make_producer(id="orders", close_before_fork=None)
OVER = threading.Event()


def push() -> None:
    """Push all the time, as a service with many producers does."""
    while not OVER.is_set():
        LISTENER.push_now()


def main() -> None:
    """Fork; each child sends, closes, and so pushes."""
    PRODUCER.produce_sync(TOPIC, b"parent")
    thread = threading.Thread(target=push)
    thread.start()
    codes: list[int | None] = []
    slowest = 0.0
    for _ in range(FORKS):
        began = time.monotonic()
        pid = os.fork()
        if not pid:
            PRODUCER.produce_sync(TOPIC, b"child")
            os._exit(0 if PRODUCER.close().complete else 1)
        slowest = max(slowest, time.monotonic() - began)
        codes.append(wait_for_child(pid))
        if codes[-1] is None:
            break
    OVER.set()
    thread.join(10)
    say(codes=codes, slowest=slowest)
    PRODUCER.close()
    # What the metrics' own thread has to do ends with the last client.
    time.sleep(0.2)
    say(threads=[each.name for each in threading.enumerate()])


main()
