"""`EventCounts`: counts events by series and labels, without a lock."""

from __future__ import annotations

from itertools import count
from typing import TypeAlias

from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py.listeners._series import Series

Key: TypeAlias = tuple[Series, tuple[str, ...]]


class EventCounts:
    """A number for each series and its labels, which only grows.

    Subscribers run on any thread, in finalizers and on top of any frame. So `add` is a
    few calls of C, each of them atomic.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[Key, count[int]] = {}

    def add(self, series: Series, *labels: str) -> None:
        """Count one more."""
        key, counts = (series, labels), self._counts
        one = counts.get(key)
        if one is None:
            one = counts.setdefault(key, count())
        next(one)

    def read(self) -> dict[Key, int]:
        """The numbers as they are now."""
        return {key: peek(one) for key, one in dict(self._counts).items()}

    def reset(self) -> None:
        """Start at zero: this is a forked child."""
        self._counts = {}
