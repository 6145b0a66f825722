"""`Versioned`: an immutable value that threads replace without a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_NEXT: Final = 0


class _Version(Generic[T]):
    __slots__ = ("next", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self.next: dict[int, _Version[T]] = {}


class Versioned(Generic[T]):
    """A value that is replaced and never changed. Thread-safe and re-entrant.

    For a mapping whose keys compare in Python: a `dict` that threads share calls
    `__eq__` in the middle of a change, and it cannot compare and delete in one step. A
    reader has a snapshot, through which it may iterate while others go on.

    Each version knows the next one. `dict.setdefault` decides which that is, so of two
    changes at the same moment one is computed again. A finalizer or a signal handler on
    top of a change is such another change.
    """

    __slots__ = ("_version",)

    def __init__(self, value: T) -> None:
        self._version = _Version(value)

    def get(self) -> T:
        """The value as it is now."""
        return self._last().value

    def update(self, change: Callable[[T], T]) -> T:
        """Replace the value by `change(value)`; returns the new one.

        `change` may be called several times. What it raises comes out, and the value
        stays. If it returns the same object, nothing is replaced.
        """
        while True:
            version = self._last()
            value = change(version.value)
            if value is version.value:
                return value
            made = _Version(value)
            if version.next.setdefault(_NEXT, made) is made:
                self._last()
                return value

    def _last(self) -> _Version[T]:
        """The newest version, which alone stays in memory.

        1. A thread finds version 5 to be the newest, and stops.
        2. Another one makes version 6 and stores it.
        3. The first thread stores version 5, and looks again: it has a next one
           (test_a_version_that_is_stored_late).
        """
        version = self._version
        while version.next or self._version is not version:
            version = version.next.get(_NEXT, version)
            self._version = version
        return version
