"""`Tally`: sums of a producer's idle gaps and re-opens, added to from any thread."""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

from waterdrop_py._engine.concurrency.exact import exact
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py.planning import GAP_EDGES, REOPEN_EDGES, Buckets

SHORTEST_GAP: Final = 1.0
"""Seconds from which on a gap is counted."""

NO_GAPS: Final = Buckets.of(GAP_EDGES)
NO_REOPENS: Final = Buckets.of(REOPEN_EDGES)


class _Sums(NamedTuple):
    """What was added so far, and when the newest of each kind began."""

    gaps: Buckets = NO_GAPS
    reopens: Buckets = NO_REOPENS
    last_gap: float = -inf
    last_reopen: float = -inf

    def with_gap(self, since: float, length: float) -> _Sums:
        if since <= self.last_gap:
            return self
        gaps = self.gaps + Buckets.of(GAP_EDGES, (length,))
        return self._replace(gaps=gaps, last_gap=since)

    def with_reopen(self, since: float, length: float) -> _Sums:
        if since <= self.last_reopen:
            return self
        reopens = self.reopens + Buckets.of(REOPEN_EDGES, (length,))
        return self._replace(reopens=reopens, last_reopen=since)


_NOTHING: Final = _Sums()


_ONLY: Final = 0


class _Adding:
    """Values that were not summed up yet, and the lock of the thread that does it."""

    __slots__ = ("arrived", "lock")

    def __init__(self) -> None:
        self.arrived: list[tuple[bool, float, float]] = []
        self.lock = OwnedLock()


class Tally:
    """Sums of gaps and of re-opens. Thread-safe; no caller waits.

    Several threads may end one gap at the same moment, and each adds it. It counts
    once, because gaps are told apart by when they began, and these moments rise.

    A thread adds to `arrived`, and then tries the lock. The thread that has the lock
    releases it, and then looks at `arrived`. One of the two sees the other. An entry
    stays in front until it is summed up, and the second time it changes nothing, so a
    signal handler may raise anywhere (test_values_from_many_threads_count_once).
    """

    __slots__ = ("_made", "_sums")

    def __init__(self) -> None:
        # Made with the first value: most producers of a process have none, and each
        # would take 0.2 KB.
        self._made: dict[int, _Adding] = {}
        self._sums = _NOTHING

    @property
    def adding(self) -> _Adding:
        """What values are added with."""
        return self._made.get(_ONLY) or self._made.setdefault(_ONLY, _Adding())

    @property
    def gaps(self) -> Buckets:
        """The gaps, in seconds."""
        return self._sums.gaps

    @property
    def reopens(self) -> Buckets:
        """What re-opens took, in milliseconds."""
        return self._sums.reopens

    def add_gap(self, since: float, until: float) -> None:
        """Count the gap from `since` to `until`, in seconds on the clock, if it is long
        enough."""
        if until - since >= SHORTEST_GAP:
            self._add((False, since, exact(until - since)))

    def add_reopen(self, since: float, took_ms: float) -> None:
        """Count a re-open that began at `since`, in seconds on the real clock."""
        self._add((True, since, exact(took_ms)))

    def _add(self, entry: tuple[bool, float, float]) -> None:
        adding = self.adding
        adding.arrived.append(entry)
        while adding.arrived:
            hold = Hold()
            try:
                if not adding.lock.take(hold):
                    return
                self._sum_up(adding.arrived)
            finally:
                adding.lock.release(hold)

    def _sum_up(self, arrived: list[tuple[bool, float, float]]) -> None:
        while arrived:
            is_reopen, since, length = arrived[0]
            if is_reopen:
                self._sums = self._sums.with_reopen(since, length)
            else:
                self._sums = self._sums.with_gap(since, length)
            del arrived[0]
