"""Forks while a client is idle; parent and child tell what they have left."""

from __future__ import annotations

import os
import sys
import time

MOMENTS: list[str] = []
# Registered before the library's: it is the last to run before the fork.
os.register_at_fork(before=lambda: MOMENTS.append("fork"))

from tests.scenarios.kit import (  # noqa: E402
    TOPIC,
    library_threads,
    make_producer,
    say,
    sockets,
    wait_for_child,
)


def main() -> None:
    """One idle client is closed before the fork, and the child holds nothing."""
    producer = make_producer(close_before_fork=100)
    producer.monitor.subscribe(
        "producer.disconnected", lambda event: MOMENTS.append(event["reason"])
    )
    producer.produce_sync(TOPIC, b"parent")
    say(before=sockets())
    time.sleep(0.3)
    started = time.monotonic()
    pid = os.fork()
    if not pid:
        say(child_sockets=sockets(), child_threads=library_threads())
        say(child_moments=MOMENTS)
        sys.exit(0)
    say(fork_s=time.monotonic() - started, parent_moments=MOMENTS)
    say(parent_sockets=sockets(), child_code=wait_for_child(pid))
    producer.produce_sync(TOPIC, b"again")
    producer.close(5)


main()
