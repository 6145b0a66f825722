"""For programs under gevent: patched before the library is imported, or after.

The program's first word says which. It is imported instead of `kit`.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey

if "before" in sys.argv:
    monkey.patch_all()

from tests.scenarios import kit

if "after" in sys.argv:
    monkey.patch_all()

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WORDS", "all_of", "kit", "measured", "monkey"]

BEAT = 0.001

_, *WORDS = kit.WORDS


class Lag:
    """How late the hub ran a greenlet that is due every BEAT seconds."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.over = False

    def beat(self) -> None:
        """Run until `over`."""
        while not self.over:
            began = time.monotonic()
            gevent.sleep(BEAT)
            self.late.append(time.monotonic() - began - BEAT)

    def at(self, share: float) -> float:
        """Milliseconds: this share of the beats was no later.

        While the hub stands still, the beats that were due meanwhile count too.
        """
        late = list(self.late)
        for each in self.late:
            late += [each - BEAT * missed for missed in range(1, int(each / BEAT))]
        return 1000 * sorted(late)[int(share * (len(late) - 1))]


@contextmanager
def measured(name: str) -> Iterator[None]:
    """Say how long the block took, and how late the hub was meanwhile."""
    lag = Lag()
    heart = gevent.spawn(lag.beat)
    gevent.sleep(10 * BEAT)
    began = time.monotonic()
    try:
        yield
    finally:
        took = time.monotonic() - began
        lag.over = True
        heart.join()
    kit.say(
        what=name,
        took=took,
        beats=len(lag.late),
        p50=lag.at(0.5),
        p99=lag.at(0.99),
        longest=lag.at(1.0),
    )


def all_of(count: int, run: Callable[[int], Any], within: float = 20.0) -> list[Any]:
    """What `count` greenlets that run `run(number)` have returned."""
    greenlets = [gevent.spawn(run, number) for number in range(count)]
    gevent.joinall(greenlets, timeout=within, raise_error=True)
    return [each.get(block=False) for each in greenlets]
