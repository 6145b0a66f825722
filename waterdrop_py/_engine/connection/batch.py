"""Clients that are closed together, and what that released of the process."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from waterdrop_py._engine.process.resources import count_resources, released

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.process.closes import Closes
    from waterdrop_py._engine.process.resources import ResourceCount
    from waterdrop_py._engine.process.runtime import Runtime

MEASURED: Final = 50
"""Live clients up to which the process is counted before and after a batch. One count
takes about 0.1 ms for each, and the closes wait for it: with 100 due together the
last was closed 8 to 102 ms after the deadline without it, 75 to 349 ms with it."""

Announce: TypeAlias = "Callable[[dict[str, int] | None], None]"
"""Says that a client is closed, and what that released."""


def batch_of(
    runtime: Runtime, emitters: Iterable[Emitter], *, silent: bool = False
) -> TeardownBatch:
    """Clients that are about to be closed together; an emitter for each of them."""
    emitters = list(emitters)
    heard = any(emitter.listens("producer.disconnected") for emitter in emitters)
    few = runtime.count() <= MEASURED
    return TeardownBatch(
        runtime.closes, len(emitters), measure=heard and few, silent=silent
    )


class TeardownBatch:
    """Clients that are closed together, and what that released of the process.

    One look at the process costs up to 0.1 s with a thousand clients, so it is
    made once before and once after the batch, not for each close. The figures
    are shared out evenly, and only said when nobody else opened or closed a
    client meanwhile. No lock: `_open.pop` counts down.
    """

    __slots__ = ("_before", "_closed", "_closes", "_late", "_moves", "_open", "silent")

    def __init__(
        self, closes: Closes, size: int, *, measure: bool, silent: bool = False
    ) -> None:
        self._closes = closes
        # A silent batch has one place more: it is told of when its owner says so.
        self.silent = silent
        self._open: list[None] = [None] * (size + silent)
        self._closed: list[Announce] = []
        # Not measured, so nobody has to wait for the others.
        self._late = not measure and not silent
        self._moves = closes.moves()  # first: what ends during the census counts
        self._before = count_resources() if measure else None

    def done(self, announce: Announce) -> None:
        """One client is destroyed; `announce` is called, at the latest with the last
        one."""
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
        """Whether every client of it is destroyed or was not closed."""
        return not self._open

    @property
    def late(self) -> bool:
        """Whether those that were in time have been told of already."""
        return self._late

    def announce(self) -> None:
        """Tell of those that are closed: of all, or of those that were in time."""
        self._late = bool(self._open)
        shares = [] if self._late else self._shares()
        while self._closed:
            try:
                announce = self._closed.pop(0)
            except IndexError:
                return
            announce(shares.pop() if shares else None)

    def _shares(self) -> list[dict[str, int]]:
        before, count = self._before, len(self._closed)
        if before is None or not count:
            return []
        after = _settled_count(before)
        # Every close is one move once it has ended: any more, or one that has not,
        # and somebody else opened or closed. Asked last: one that began during the
        # census has changed it.
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
    """The census after the close, once the kernel has let go too.

    A joined thread stays in /proc for some microseconds, so a count that still
    falls is taken again.
    """
    last = before
    for _ in range(5):
        census = count_resources()
        if census is None or census == last:
            return census
        last = census
    return last
