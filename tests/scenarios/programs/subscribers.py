"""A subscriber that raises, takes five seconds, or sends; and bystanders."""

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


def watch(sender: Producer, idler: Producer) -> None:
    """How long one's report, and the other's idle disconnect, take meanwhile.

    They are two, because the reaper serves the reports of what may be idle.
    """
    started = time.monotonic()
    handle = sender.produce_async(TOPIC, b"sender")
    say(reported=eventually(handle.done, 4), report_s=time.monotonic() - started)
    started = time.monotonic()
    idler.produce_sync(TOPIC, b"idler")
    say(closed=eventually(lambda: not idler.is_connected, 4))
    say(closed_s=time.monotonic() - started)


def main() -> None:
    """The bystanders send while the subscriber has its way."""
    odd = make_producer(
        id="odd",
        idle_disconnect_timeout=IDLE_MS if EVENT == "producer.disconnected" else 0,
        kafka={"statistics.interval.ms": 100},
    )
    sender = make_producer(id="sender")
    idler = make_producer(id="idler", idle_disconnect_timeout=IDLE_MS)
    odd.monitor.subscribe(EVENT, lambda _: misbehave(odd))
    sender.produce_sync(TOPIC, b"sender-warm")
    # Not a blocking verb: this very thread would serve the subscriber in it.
    odd.produce_async(TOPIC, b"odd-first")
    say(inside=INSIDE.wait(5))
    watch(sender, idler)
    say(left=LEFT.is_set())
    LEAVE.set()
    started = time.monotonic()
    odd.produce_sync(TOPIC, b"odd-again", timeout=5)
    say(again_s=time.monotonic() - started)
    producers = (odd, sender, idler)
    say(complete=[each.close(5).complete for each in producers], errors=ERRORS)


main()
