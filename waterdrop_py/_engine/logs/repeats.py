"""When a line that repeats is written: at growing intervals, and none is uncounted."""

from __future__ import annotations

from itertools import count
from math import inf
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from waterdrop_py._engine.concurrency.counter import peek

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

QUIET: Final = 60.0
"""Seconds without an occurrence after which the interval is the first one again."""
MOST: Final = 256
"""Series kept at most. A new one replaces the oldest."""

_Item = TypeVar("_Item")


class _Series(Generic[_Item]):
    """The occurrences of one key.

    `right` holds one entry: the time from which the next line is due. The thread that
    pops it decides, so two threads never write the same line.
    """

    __slots__ = (
        "held",
        "item",
        "missed",
        "right",
        "said_at",
        "seen_at",
        "taken",
        "wait",
    )

    def __init__(self, first: float) -> None:
        self.right = [-inf]
        self.wait = first
        self.said_at = self.seen_at = -inf
        self.held = count()
        self.taken = 0
        self.missed = False
        self.item: _Item | None = None

    def hold(self, make: Callable[[], _Item]) -> None:
        """Count one that is not written now. The first is kept."""
        if self.item is None:
            self.item = make()
        next(self.held)

    def take(self) -> int:
        """How many were held back since the last line. Called with `right` popped."""
        self.item = None
        waiting = peek(self.held) - self.taken
        self.taken += waiting
        return waiting


class Repeats(Generic[_Item]):
    """Decides which occurrences are written. It has neither a thread nor a clock.

    An occurrence is written if none of its key was within `first` seconds. While it
    repeats, the interval doubles, up to `longest` seconds. The others are counted, and
    the first of them is kept in case none follows. Thread-safe, without a lock.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._series: dict[Hashable, _Series[_Item]] = {}

    def offer(
        self,
        key: Hashable,
        now: float,
        make: Callable[[], _Item],
        *,
        news: bool = False,
    ) -> int | None:
        """Whether to write it now: how many were held back before it, or None.

        `make` gives what is kept if it is held back. `news` is due after `first`
        seconds, however long the interval is.
        """
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= MOST:
                self._forget_one()
            series = self._series.setdefault(key, _Series(self._first))
        if now - series.seen_at > max(QUIET, 2 * series.wait):
            series.wait = self._first
        series.seen_at = now
        try:
            due = series.right.pop()
        except IndexError:  # another thread is writing one
            series.hold(make)
            return None
        try:
            if now < (series.said_at + self._first if news else due):
                series.hold(make)
                return None
            due = self._said(series, now)
            return series.take()
        finally:
            series.right[:] = [due]

    def due(self, now: float, *, everything: bool = False) -> list[tuple[_Item, int]]:
        """What was held back and is to be written now, and how many more there were.

        With `everything`, what is not due as well: the process ends.
        """
        found = []
        for series in list(self._series.values()):
            if (item := series.item) is None:
                continue
            try:
                due = series.right.pop()
                series.missed = False
            except IndexError:
                # Another thread has it for some microseconds. One that a signal
                # handler interrupted never returns it. So it is put back if it is
                # missing twice in a row (test_a_right_that_was_lost_comes_back).
                if not (series.missed or everything):
                    series.missed = True
                    continue
                due = now
            try:
                if everything or now >= due:
                    due = self._said(series, now)
                    if waiting := series.take():
                        found.append((item, waiting - 1))
            finally:
                series.right[:] = [due]
        return found

    def due_within(self, now: float, seconds: float) -> bool:
        """Whether anything that was held back is due within `seconds`."""
        return any(
            series.item is not None and min(series.right, default=now) <= now + seconds
            for series in list(self._series.values())
        )

    def _said(self, series: _Series[_Item], now: float) -> float:
        """Note that a line is written; the seconds from which the next one is due."""
        due = now + series.wait
        series.said_at = now
        series.wait = min(2 * series.wait, self._longest)
        return due

    def _forget_one(self) -> None:
        for key, series in dict(self._series).items():
            if series.item is None:
                self._series.pop(key, None)
                return
        self._series.pop(next(iter(list(self._series)), None), None)
