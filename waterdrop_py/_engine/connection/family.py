"""`Relatives`: a producer and its variants, whose closes are one for its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waterdrop_py._engine.connection.hooks import Closing
    from waterdrop_py._engine.connection.ledger import Ledger

_ONLY: Final = 0


class Member(Protocol):
    """A connection."""

    ledger: Ledger

    @property
    def is_closed(self) -> bool:
        """Whether its close has ended."""

    @property
    def shutdown(self) -> Closing | None:
        """Its close, once there is one."""


class Relatives:
    """The connections of one producer. Each closes by itself, perhaps at one time.

    `producer.closing` is told by the first close that begins, and `producer.closed` by
    the last one that ends: one of several that end together. No lock: `dict.setdefault`
    decides. A close that a signal handler interrupts asks again, and gets the same
    answer.

    Attributes:
        stats: the figures of the producer, its variants' included.
    """

    __slots__ = ("_first", "_last", "_members", "stats")

    def __init__(
        self, members: Callable[[], Sequence[Member]], stats: Callable[[], object]
    ) -> None:
        self._members = members
        self._first: dict[int, object] = {}
        self._last: dict[int, object] = {}
        self.stats = stats

    def begins_with(self, close: object) -> bool:
        """Whether `close` is the first one."""
        return self._first.setdefault(_ONLY, close) is close

    def ends_with(self, close: object) -> bool:
        """Whether `close`, whose connection is closed, is the last one."""
        if not all(each.is_closed or _is_unused(each) for each in self._members()):
            return False
        return self._last.setdefault(_ONLY, close) is close

    def reset(self) -> None:
        """Start afresh: in a forked child, and as a closed producer opens again."""
        self._first = {}
        self._last = {}


def _is_unused(connection: Member) -> bool:
    """Whether there is nothing to close, and no close that has begun."""
    return connection.shutdown is None and not connection.ledger.opens
