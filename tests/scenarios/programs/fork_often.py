"""Forks again and again, and sends in between, as a service with helpers does."""

from __future__ import annotations

import os
import time

from tests.scenarios.kit import TOPIC, make_producer, say, wait_for_child

ROUNDS = 4


def main() -> None:
    """The client that is in use is never closed for the sake of a fork."""
    producer = make_producer()
    producer.produce_sync(TOPIC, b"first")
    time.sleep(0.1)
    forks, sends = [], []
    for number in range(ROUNDS):
        started = time.monotonic()
        pid = os.fork()
        if not pid:
            os._exit(0)
        forks.append(time.monotonic() - started)
        wait_for_child(pid)
        time.sleep(0.45)
        started = time.monotonic()
        producer.produce_sync(TOPIC, f"m{number}".encode())
        sends.append(time.monotonic() - started)
        time.sleep(0.45)
    say(forks=forks, sends=sends, opens=producer.stats().opens)
    producer.close(5)


main()
