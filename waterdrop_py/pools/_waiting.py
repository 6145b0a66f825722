"""The callers that wait for a lease, in the order of their calls."""

from __future__ import annotations

from bisect import insort
from contextlib import suppress
from itertools import count, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py.pools._slot import Place, Reserved

if TYPE_CHECKING:
    from waterdrop_py.pools._slot import Holding

_DECISION: Final = 0
_NUMBER: Final = attrgetter("number")

Given: TypeAlias = tuple[Reserved, Place]
"""What a caller that waits is given: a reservation, and its seat."""


class Waking(Protocol):
    """What wakes a caller that waits."""

    def __call__(self) -> object:
        """Wake it. Again does no harm."""

    @property
    def is_away(self) -> bool:
        """Whether the caller cannot take anything now."""

    @property
    def is_gone(self) -> bool:
        """Whether it never will."""


W = TypeVar("W", bound=Waking)


class ThreadWakeup(Wakeup):
    """Wakes a thread."""

    __slots__ = ()

    is_away = False
    is_gone = False


class Waiter(Generic[W]):
    """One caller that waits, and what it is given: a seat, or nothing any more.

    Threads may decide at the same moment. One atomic `dict.setdefault` does.

    Attributes:
        wakeup: wakes the caller; replaced each time that it has waited.
        number: its place in the order of the calls, which it keeps.
    """

    __slots__ = ("_decision", "holding", "number", "wakeup")

    def __init__(self, holding: Holding, wakeup: W, number: int) -> None:
        self.holding = holding
        self.wakeup = wakeup
        self.number = number
        self._decision: dict[int, Given | None] = {}

    @property
    def decided(self) -> bool:
        """Whether it was given something, or gave up."""
        return _DECISION in self._decision

    @property
    def is_away(self) -> bool:
        """Whether it cannot take now what it was given."""
        return self.wakeup.is_away

    def has(self, reserved: Reserved) -> bool:
        """Whether it was given this."""
        given = self._decision.get(_DECISION)
        return given is not None and given[0] is reserved

    def reserve(self) -> Reserved | None:
        """What a seat is taken with for it; None if its lease is gone."""
        lease = self.holding()
        return None if lease is None else Reserved.of(lease, self)

    def give(self, reserved: Reserved, place: Place) -> bool:
        """Give it a seat, and wake it; False if that was decided before."""
        given = (reserved, place)
        if self._decision.setdefault(_DECISION, given) is not given:
            return False
        self.wakeup()
        return True

    def give_up(self) -> Given | None:
        """Wait no more; what it was given before."""
        return self._decision.setdefault(_DECISION, None)


class WaitingLine:
    """The callers that wait; the first has waited longest. Without a lock.

    Two signal handlers that raise may end a caller's wait and leave it in the line. Its
    lease is collected then, and the line skips it.

    Attributes:
        waiting: those callers.
        numbers: their places in the order of the calls.
    """

    __slots__ = ("numbers", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Waiter[Any]] = []
        self.numbers = count()

    def __len__(self) -> int:
        return len(self.waiting)

    def join(self, waiter: Waiter[Any], most: int | None = None) -> bool:
        """Wait behind those that called before; False if `most` of them wait already.

        It is one call of C, so no other thread joins in between.
        """
        waiting = self.waiting
        insort(waiting, waiter, key=_NUMBER)
        if most is None or len(waiting) <= most:
            return True
        undecided = (each for each in list(waiting) if not each.decided)
        return waiter in islice(undecided, most) or waiter.decided

    def leave(self, waiter: Waiter[Any]) -> None:
        """Wait no more."""
        with suppress(ValueError):
            self.waiting.remove(waiter)

    def first(self) -> Waiter[Any] | None:
        """The caller that waits longest, if any; without those that are away.

        These keep their places, and are woken to look for themselves. One that was
        decided on is woken again: the thread that did may have been interrupted.
        """
        at = 0
        while True:
            try:
                waiter = self.waiting[at]
            except IndexError:
                return None
            if waiter.holding() is None or waiter.decided or waiter.wakeup.is_gone:
                waiter.wakeup()
                self.leave(waiter)
            elif waiter.is_away:
                waiter.wakeup()
                at += 1
            else:
                return waiter

    def wake_all(self) -> None:
        """Have each look at the pool: it may have been closed."""
        for waiter in list(self.waiting):
            waiter.wakeup()
