"""Ends with many producers, whose closes together have no credit for their pushes.

No thread can start at the end, as at interpreter exit from Python 3.12 on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.scenarios.kit import TOPIC, make_producer, say
from waterdrop_py import monitor
from waterdrop_py._engine.concurrency import threads
from waterdrop_py.listeners import PrometheusListener

if TYPE_CHECKING:
    from waterdrop_py import Event

PRODUCERS = 40


class Slow(PrometheusListener):
    """A listener that takes as long as one with a thousand producers."""

    def push(self) -> None:
        """Push, and take 20 ms for it."""
        super().push()
        time.sleep(0.02)


def broken(_: Event) -> None:
    """Raise, which is an error to count."""
    raise ValueError("broken")


monitor.subscribe(Slow())
monitor.subscribe("producer.closed", broken)
made = [make_producer(id="orders") for _ in range(PRODUCERS)]
for each in made:
    each.produce_sync(TOPIC, b"x")
    each.disconnect()
time.sleep(0.5)  # for the thread, which ends
threads.start = lambda *_: False
say(producers=PRODUCERS)
