"""`Slot`: the place of one producer in a pool, and the leases of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from waterdrop_py.errors import ProduceError
    from waterdrop_py.pools.holding import Holding
    from waterdrop_py.pools.producer import PoolProducer
    from waterdrop_py.pools.retiring import Retired


class Slot:
    """A place with a fixed index, whose seats are taken by leases. Without a lock.

    One atomic `dict.setdefault` takes a seat. A seat refers to its lease weakly, and is
    free again once that is collected.

    Attributes:
        seats: the leases, by the number of the seat.
        producer: None until it is needed.
        error: the fatal error that took the slot out of service.
        closing: the producer before, which is closed before the next one opens.
        outdated: the producer has another configuration than the slot is to have.
        used_at: when it was last leased, in seconds on the clock.
    """

    __slots__ = (
        "closing",
        "error",
        "index",
        "outdated",
        "producer",
        "seats",
        "used_at",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.seats: dict[int, Holding] = {}
        self.producer: PoolProducer | None = None
        self.error: ProduceError | None = None
        self.closing: Retired | None = None
        self.outdated = False
        self.used_at = 0.0

    @property
    def in_service(self) -> bool:
        """Whether its producer may be used now."""
        return self.error is None and self.closing is None

    def take_seat(self, holding: Holding, limit: int) -> Place | None:
        """A seat for `holding`, if fewer than `limit` are taken."""
        seats = self.seats
        taken = len(seats)
        if taken >= limit:
            return None
        if seats.setdefault(taken, holding) is holding:
            return self, taken
        for seat in range(limit):
            if seats.setdefault(seat, holding) is holding:
                return self, seat
        return None

    def adopt(self, producer: PoolProducer) -> PoolProducer:
        """Have this producer, unless the slot has one by now; the one that it has.

        From the comparison to the assignment there is no call, where CPython would
        switch threads.
        """
        if self.producer is None:
            self.producer = producer
        return self.producer

    def drop(self, producer: PoolProducer) -> bool:
        """Have `producer` no more; whether the slot had it. As `adopt`."""
        if self.producer is producer:
            self.producer = None
            return True
        return False

    def holdings(self) -> list[Holding]:
        """The leases that are out."""
        return [
            each
            for each in tuple(self.seats.values())
            if each() is not None and each.is_out
        ]

    def users_of(self, producer: PoolProducer) -> int:
        """How many leases have this producer."""
        return sum(each.producer is producer for each in tuple(self.seats.values()))


Place: TypeAlias = tuple[Slot, int]
"""A seat in a slot."""
