"""`Relatives`: a producer and its variants, whose closes are one for its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterdrop_py._engine.connection.hooks import Closing
    from waterdrop_py._engine.connection.ledger import Ledger

_FIRST: Final = 1  # beside `connection.ONLY`
_LAST: Final = 2


class Member(Protocol):
    """A connection."""

    ledger: Ledger
    shutdowns: dict[int, Any]

    @property
    def is_closed(self) -> bool:
        """Whether its close has ended."""

    @property
    def shutdown(self) -> Closing | None:
        """Its close, once there is one."""


class WithVariants(Protocol):
    """A producer's parts."""

    def connections(self) -> Sequence[Member]:
        """Its own, and those of its variants."""

    def stats(self) -> object:
        """Its figures."""


class Relatives:
    """The connections of one producer. Each closes by itself, perhaps at one time.

    `producer.closing` is told by the first close that begins, and `producer.closed` by
    the last one that ends: one of several that end together. No lock: `dict.setdefault`
    decides. A close that a signal handler interrupts asks again, and gets the same
    answer.
    """

    __slots__ = ("_producer",)

    def __init__(self, producer: WithVariants) -> None:
        self._producer = producer

    @property
    def _told(self) -> dict[int, Any]:
        """Kept by the producer's own connection, which starts afresh in a forked child
        and as a closed producer opens again."""
        return self._producer.connections()[0].shutdowns

    def stats(self) -> object:
        """The figures of the producer, its variants' included."""
        return self._producer.stats()

    def begins_with(self, close: object) -> bool:
        """Whether `close` is the first one."""
        return self._told.setdefault(_FIRST, close) is close

    def ends_with(self, close: object) -> bool:
        """Whether `close`, whose connection is closed, is the last one."""
        if not all(
            each.is_closed or _is_unused(each) for each in self._producer.connections()
        ):
            return False
        return self._told.setdefault(_LAST, close) is close


def _is_unused(connection: Member) -> bool:
    """Whether there is nothing to close, and no close that has begun."""
    return connection.shutdown is None and not connection.ledger.opens
