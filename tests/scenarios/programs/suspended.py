"""Sends, is stopped by the test, and sends again when it goes on."""

from __future__ import annotations

import sys
import time

from tests.scenarios.kit import TOPIC, make_producer, say


def main() -> None:
    """The first line of the test's input is its sign to go on."""
    producer = make_producer(idle_disconnect_timeout=1_000, max_wait_timeout=160_000)
    producer.produce_sync(TOPIC, b"before")
    say(ready=True)
    # Not a wait in the library: the process is stopped here, beyond the deadline.
    while not sys.stdin.readline():
        time.sleep(0.001)
    started = time.monotonic()
    producer.produce_sync(TOPIC, b"after", timeout=10)
    say(took=time.monotonic() - started, opens=producer.stats().opens)
    say(reasons=dict(producer.stats().disconnects))
    producer.close(2)


main()
