"""A subscriber that raises, takes five seconds, or sends; and a bystander."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tests.scenarios.kit import TOPIC, WORDS, eventually, make_producer, say
from waterdrop_py import monitor

if TYPE_CHECKING:
    from waterdrop_py import Producer

EVENT, CONDUCT = WORDS
IDLE_MS = 300
INSIDE, LEAVE, LEFT = threading.Event(), threading.Event(), threading.Event()
ERRORS: list[tuple[str, str]] = []
monitor.subscribe(
    "error.occurred",
    lambda event: ERRORS.append((event["producer_id"], event["type"])),
)


def misbehave(odd: Producer) -> None:
    """Once; the next event finds it well-behaved."""
    if INSIDE.is_set():
        return
    INSIDE.set()
    if CONDUCT == "raise":
        raise LookupError("the subscriber's own")
    if CONDUCT == "sleep":
        LEAVE.wait(5)
        LEFT.set()
    else:
        odd.produce_async(TOPIC, b"odd-subscriber")


def watch(bystander: Producer) -> None:
    """How long the bystander's report and its idle disconnect take meanwhile."""
    started = time.monotonic()
    handle = bystander.produce_async(TOPIC, b"bystander")
    say(reported=eventually(handle.done, 4), report_s=time.monotonic() - started)
    say(closed=eventually(lambda: not bystander.is_connected, 4))
    say(closed_s=time.monotonic() - started)


def main() -> None:
    """The bystander sends while the subscriber has its way."""
    odd = make_producer(
        id="odd",
        idle_disconnect_timeout=IDLE_MS if EVENT == "producer.disconnected" else 0,
        kafka={"statistics.interval.ms": 100},
    )
    bystander = make_producer(id="bystander", idle_disconnect_timeout=IDLE_MS)
    odd.monitor.subscribe(EVENT, lambda _: misbehave(odd))
    bystander.produce_sync(TOPIC, b"bystander-warm")
    odd.produce_sync(TOPIC, b"odd-first")
    say(inside=INSIDE.wait(5))
    watch(bystander)
    say(left=LEFT.is_set())
    LEAVE.set()
    started = time.monotonic()
    odd.produce_sync(TOPIC, b"odd-again", timeout=5)
    say(again_s=time.monotonic() - started)
    say(complete=[each.close(5).complete for each in (odd, bystander)], errors=ERRORS)


main()
