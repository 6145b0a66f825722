"""Clients that close together, and the sockets and threads that this released."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from waterdrop_py._engine.concurrency.emptying import until_empty
from waterdrop_py._engine.process.resources import count_resources, released

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.process.closes import Closes
    from waterdrop_py._engine.process.resources import ResourceCount
    from waterdrop_py._engine.process.runtime import Runtime

MEASURED: Final = 50
"""Connections up to which the process's resources are counted before and after a batch.
A count takes about 0.1 ms per client, and the closes wait for it. Of 100 clients that
were due together, the last was closed 8 to 102 ms after its deadline without a count,
and 75 to 349 ms with it."""

Announce: TypeAlias = "Callable[[dict[str, int] | None], None]"
"""Emits that a client is closed, and what that released."""


def batch_of(
    runtime: Runtime, size: int, *, silent: bool = False, measure: bool = True
) -> TeardownBatch:
    """A batch of `size` clients that are about to be closed."""
    few = runtime.count() <= MEASURED
    return TeardownBatch(runtime.closes, size, measure=measure and few, silent=silent)


class TeardownBatch:
    """Clients that are closed together, and what the process got back by that.

    Counting the process's resources takes up to 0.1 s with a thousand clients. So it is
    done once before and once after the batch, and the difference is divided evenly. It
    is told only if no other client was opened or closed meanwhile. No lock: `_open.pop`
    counts down.
    """

    __slots__ = ("_before", "_closed", "_closes", "_late", "_moves", "_open", "silent")

    def __init__(
        self, closes: Closes, size: int, *, measure: bool, silent: bool = False
    ) -> None:
        self._closes = closes
        # A silent batch has one place more, so that its owner decides when it is
        # announced.
        self.silent = silent
        self._open: list[None] = [None] * (size + silent)
        self._closed: list[Announce] = []
        # Without a measurement, each close is announced at once.
        self._late = not measure and not silent
        # Read before the count, so that a close that ends during it is seen.
        self._moves = closes.moves()
        self._before = count_resources() if measure else None

    def done(self, announce: Announce) -> None:
        """One client is destroyed. `announce` is called with the last one's, or now."""
        self._closed.append(announce)
        self.skip()

    def skip(self) -> None:
        """One client is not closed, or is destroyed."""
        with suppress(IndexError):
            self._open.pop()
        if not self._open or self._late:
            self.announce()

    @property
    def over(self) -> bool:
        """Whether each of its clients is destroyed, or was not closed."""
        return not self._open

    @property
    def late(self) -> bool:
        """Whether those that were in time have been announced already."""
        return self._late

    def announce(self) -> None:
        """Announce those that are closed: all, or those that were in time."""
        self._late = bool(self._open)
        shares = [] if self._late else self._shares()
        for announce in until_empty(partial(self._closed.pop, 0)):
            announce(shares.pop() if shares else None)

    def _shares(self) -> list[dict[str, int]]:
        before, count = self._before, len(self._closed)
        if before is None or not count:
            return []
        after = _settled_count(before)
        # Each close that has ended is one move. More moves, or a close in progress,
        # mean that another client was opened or closed. Read after the count, because
        # one may have begun during it.
        closes = self._closes
        if after is None or closes.any or closes.moves() != self._moves + count:
            return []
        total = released(before, after)
        shares = [
            {name: figure // count for name, figure in total.items()}
            for _ in range(count)
        ]
        for name, figure in total.items():
            for index in range(figure % count):
                shares[index][name] += 1
        return shares


def _settled_count(before: ResourceCount) -> ResourceCount | None:
    """The resources after the close, once the kernel has released them too.

    A joined thread stays in /proc for some microseconds, so a count that still falls is
    repeated.
    """
    last = before
    for _ in range(5):
        current = count_resources()
        if current is None or current == last:
            return current
        last = current
    return last
