"""`Holding`: what a pool knows of a lease, and the line of code that took it."""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING, Final, Protocol

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py.typing import LeaseHolder

if TYPE_CHECKING:
    from types import CodeType

    from waterdrop_py.pools.lease import Lease
    from waterdrop_py.pools.producer import PoolProducer
    from waterdrop_py.pools.slot import Place

    _Reference = weakref.ref[Lease]

    class Owner(Protocol):
        """What takes a lease: a thread."""

        @property
        def name(self) -> str:
            """What it is called."""

        @property
        def ident(self) -> int | None:
            """What tells it from others."""

else:
    _Reference = weakref.ref

PACKAGE: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep


class Holding(_Reference):
    """A weak reference to a lease, and what the pool knows of it.

    Attributes:
        owner: the thread that took it.
        code: the function outside the library that did, and
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


def caller_outside() -> tuple[CodeType, int]:
    """The innermost function outside the library that is running, and how far it is."""
    frame = sys._getframe(1)  # noqa: SLF001 - documented, of CPython
    while frame.f_back and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti
