"""Forks with reaper and poller running; the child needs its own."""

from __future__ import annotations

import os
import sys
import time

from tests.scenarios.kit import TOPIC, eventually, make_producer, say, wait_for_child


def main() -> None:
    """In the child reports are served and the idle client is closed."""
    producer = make_producer(idle_disconnect_timeout=300)
    reasons: list[str] = []
    producer.monitor.subscribe(
        "producer.disconnected", lambda event: reasons.append(event["reason"])
    )
    producer.produce_sync(TOPIC, b"parent")
    pid = os.fork()
    if not pid:
        reasons.clear()  # on a busy machine the parent's client may be gone by now
        started = time.monotonic()
        handle = producer.produce_async(TOPIC, b"child")
        served = eventually(handle.done, 5)
        closed = eventually(lambda: reasons == ["idle"], 5)
        say(served=served, closed=closed, after=time.monotonic() - started)
        sys.exit(0)
    say(child_code=wait_for_child(pid))
    say(parent_closed=eventually(lambda: "idle" in reasons, 5))
    producer.close(5)


main()
