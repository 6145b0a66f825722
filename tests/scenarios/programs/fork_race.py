"""Forks while other threads produce, open and close."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback

from tests.scenarios.kit import (
    TOPIC,
    WORDS,
    eventually,
    make_producer,
    say,
    wait_for_child,
)

FORKS = int(WORDS[0])
CHILD_S = 10.0


def main() -> None:  # noqa: C901, PLR0915 - one story
    """Every child sends through both producers and ends; nothing of ours is lost."""
    busy = make_producer()
    restless = make_producer()
    stop = threading.Event()
    sent = {"busy": 0, "restless": 0}

    def produce() -> None:
        while not stop.is_set():
            busy.produce_async(TOPIC, f"busy-{sent['busy']}".encode())
            sent["busy"] += 1
            time.sleep(0.000_5)

    def reopen() -> None:
        while not stop.is_set():
            restless.produce_sync(TOPIC, f"restless-{sent['restless']}".encode())
            sent["restless"] += 1
            restless.disconnect()

    threads = [threading.Thread(target=each) for each in (produce, reopen)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: min(sent.values()) > 0)
    codes, took = [], []
    for number in range(FORKS):
        started = time.monotonic()
        pid = os.fork()
        if not pid:
            in_child(number, busy, restless)
        took.append(time.monotonic() - started)
        codes.append(wait_for_child(pid, CHILD_S))
        if codes[-1] is None:
            os.kill(pid, 6)  # its stacks
            wait_for_child(pid, 2)
            break
        time.sleep(0.003 * (number % 5))
    stop.set()
    for thread in threads:
        thread.join(10)
    complete = busy.close(10).complete and restless.close(10).complete
    say(codes=codes, took=max(took), sent=sent, complete=complete)


def in_child(number: int, *producers: object) -> None:
    """Send through every producer, and end without the test's own frames."""
    try:
        for producer in producers:
            producer.produce_sync(TOPIC, f"child-{number}".encode(), timeout=8)  # type: ignore[attr-defined]
    except BaseException:  # noqa: BLE001 - told, and the code says it too
        traceback.print_exc()
        os._exit(1)
    sys.exit(0)


main()
