"""`Slot`: the place of one producer in a pool; `Holding`: a lease of it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py.typing import LeaseHolder

if TYPE_CHECKING:
    from types import CodeType

    from waterdrop_py.errors import ProduceError
    from waterdrop_py.pools._owners import Owner
    from waterdrop_py.pools._producer import Ending, PoolProducer

    _Reference = weakref.ref[object]
else:
    _Reference = weakref.ref


LATE: Final = 0.4
"""Seconds after which a seat that is reserved and not given was forgotten. The thread
that is at it takes microseconds, unless it has to wait for a processor."""


class Decision(Protocol):
    """What a reservation asks of the caller that it is for."""

    @property
    def decided(self) -> bool:
        """Whether it was given something, or gave up."""

    @property
    def is_away(self) -> bool:
        """Whether it cannot take now what it was given."""

    def has(self, reserved: Reserved) -> bool:
        """Whether it was given this."""


class Holding(_Reference):
    """A weak reference to a lease, and what the pool knows of it.

    Attributes:
        owner: the thread or task that took it.
        code: the function that did, and
        instruction: how far it was.
        place: the seat that it has; None before it is granted.
        producer: the producer that it is for.
        taken_at: when it was granted, in seconds on the clock.
        ended_at: when it was given back; None before.
        over: nothing is left to be done at its end.
        counted: it is counted how its request ended.
    """

    __slots__ = (
        "code",
        "counted",
        "ended_at",
        "instruction",
        "over",
        "owner",
        "place",
        "producer",
        "taken_at",
    )

    owner: Owner
    code: CodeType
    instruction: int
    place: Place | None
    producer: PoolProducer | None
    taken_at: float
    ended_at: float | None
    over: bool
    counted: bool

    def is_lost(self) -> bool:
        """Whether the seat was taken for a request that has been refused."""
        return self.over and self.counted

    @property
    def is_out(self) -> bool:
        """Whether the lease is neither given back nor collected."""
        place = self.place
        return place is not None and place[0].seats.get(place[1]) is self

    @no_signal_at_entry
    def leave(self, place: Place | None = None) -> None:
        """Free the seat at `place`, or its own, if this lease has it.

        From the comparison to the deletion there is no call, where CPython would switch
        threads or run a signal handler. So no other lease's seat is freed.
        """
        try:
            place = place or self.place
            if place is not None:
                slot, seat = place
                seats = slot.seats
                if seat in seats and seats[seat] is self:
                    del seats[seat]
        finally:
            pass

    def take_over(self, reserved: Reserved, place: Place) -> bool:
        """Have the seat that is `reserved`; False if it was lost. As `leave`."""
        slot, seat = place
        seats = slot.seats
        if seat in seats and seats[seat] is reserved:
            seats[seat] = self
            return True
        return False

    @property
    def where(self) -> str:
        """`<file>:<line>` of the code that took the lease."""
        line = self.code.co_firstlineno
        for begin, end, number in self.code.co_lines():
            if begin <= self.instruction < end and number is not None:
                line = number
        return f"{self.code.co_filename}:{line}"

    @property
    def held_ms(self) -> float:
        """Milliseconds since the lease was taken, and until it was given back."""
        until = clock.now() if self.ended_at is None else self.ended_at
        return (until - self.taken_at) * 1000

    def shown(self) -> LeaseHolder:
        """What is told of it in errors and reports."""
        slot = -1 if self.place is None else self.place[0].index
        return LeaseHolder(slot, self.owner.name, self.where, self.held_ms)


class Reserved(Holding):
    """A seat that is taken for a caller that waits, and not given to it yet.

    Threads may take one each for the same caller, and perhaps the same seat one after
    the other. So each attempt has an object of its own, and frees no other's seat.
    """

    __slots__ = ("waiter",)

    waiter: Decision

    @classmethod
    def of(cls, lease: object, waiter: Decision) -> Reserved:
        """A reservation for `lease`, whose caller waits as `waiter`."""
        made = cls(lease)
        made.waiter = waiter
        made.taken_at = clock.system_now()
        made.place = made.producer = made.ended_at = None
        made.over = made.counted = True
        return made

    def is_lost(self) -> bool:
        """Whether the caller was given something else, or waits no more. After LATE
        seconds, also whether it was still not given this, or is away.

        The thread that reserved it may have been interrupted before it gave it. The
        loop of a task that was given it may have ended. If the one goes on later, or
        the other, `take_over` finds that the seat is lost
        (test_a_handler_that_raises_while_it_serves_another).
        """
        waiter = self.waiter
        is_late = clock.system_now() - self.taken_at > LATE
        if waiter.decided:
            return not waiter.has(self) or (is_late and waiter.is_away)
        return is_late


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
        self.closing: Ending | None = None
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

    def replace(self, producer: PoolProducer, by: PoolProducer | None) -> bool:
        """Have another one, if the slot has `producer`; whether it had. As `adopt`."""
        if self.producer is producer:
            self.producer = by
            self.outdated = False
            return True
        return False

    def wait_for(self, closing: Ending, producer: PoolProducer) -> None:
        """Open no other one before `closing` has ended, if the slot has `producer`. Its
        close has not begun then. As `adopt`."""
        if self.producer is producer and self.closing is None:
            self.closing = closing

    def holdings(self) -> list[Holding]:
        """The leases that are out."""
        return [
            each
            for each in list(self.seats.values())
            if each() is not None and each.is_out
        ]

    def users_of(self, producer: PoolProducer) -> int:
        """How many leases have this producer."""
        return sum(each.producer is producer for each in list(self.seats.values()))


Place: TypeAlias = tuple[Slot, int]
"""A seat in a slot."""
