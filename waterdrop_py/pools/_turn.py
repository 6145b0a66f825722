"""`Turn`: how one caller gets its lease, at once or in the line."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, Generic, NoReturn

from waterdrop_py._engine.concurrency import clock
from waterdrop_py.errors import PoolExhaustedError, PoolTimeoutError
from waterdrop_py.pools import _exhaustion as exhaustion
from waterdrop_py.pools._waiting import ThreadWakeup, W, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.errors import PoolError
    from waterdrop_py.pools._leasing import Leasing
    from waterdrop_py.pools._slot import Holding, Place, Slot

RECHECK: Final = 0.5
"""Seconds until a caller that waits looks again without a wake-up: a signal handler may
have raised in the thread that would have woken it."""
CROWD: Final = 16
"""Callers that wait from which on each looks again less often: together, they look
CROWD times in RECHECK seconds."""


def take(leasing: Leasing, holding: Holding, bound: float) -> None:
    """Grant the lease of `holding` within `bound` seconds; 0: do not wait. Blocks.

    Raises:
        PoolExhaustedError: none is free, or no slot is in service.
        PoolClosedError: the pool is closed.
    """
    turn = Turn(leasing, holding, bound, ThreadWakeup)
    try:
        while not turn.granted:
            if turn.find() is None:
                turn.waited(turn.wakeup.wait(turn.until - clock.system_now()))
            else:
                turn.settle()
    except BaseException:
        turn.abandon()
        raise


class Turn(Generic[W]):
    """The request of one caller for a lease; the caller itself waits.

    It takes a seat where no other caller waits, or joins the line. Then it is given a
    seat by a thread that frees one, or finds one itself.

    Attributes:
        granted: it has the lease.
        until: when a caller that waits looks again, in seconds on the system's clock.
    """

    __slots__ = (
        "_began",
        "_bound",
        "_deadline",
        "_full",
        "_holding",
        "_leasing",
        "_new_wakeup",
        "_place",
        "_swept",
        "_waited",
        "_waiter",
        "granted",
        "until",
    )

    def __init__(
        self,
        leasing: Leasing,
        holding: Holding,
        bound: float,
        new_wakeup: Callable[[], W],
    ) -> None:
        self._leasing = leasing
        self._holding = holding
        self._bound = bound
        self._new_wakeup = new_wakeup
        self._began = clock.system_now()
        self._deadline = self.until = self._began + bound
        self._waiter: Waiter[W] | None = None  # in the line
        self._place: Place | None = None
        self._swept = self._full = self.granted = False
        self._waited = 0.0

    @property
    def wakeup(self) -> W:
        """What wakes the caller. Only while it waits."""
        assert self._waiter is not None
        return self._waiter.wakeup

    def find(self) -> Slot | None:
        """Take a seat, which `settle` makes a lease of; None: wait until `until`.

        Raises:
            What `take` raises.
        """
        if self._waiter is None:
            place = self._claim()
            if place is None and not self._bound > 0:
                if not self._swept:  # see what signal handlers have left undone
                    self._swept = True
                    self._leasing.sweep()
                    place = self._claim()
                if place is None:
                    self._refuse()
            if place is not None:
                self._place = place
                return place[0]
            self._join()
        return self._look_in_the_line()

    def settle(self) -> None:
        """Have the lease at the seat that `find` took, if it may still be used."""
        place, self._place = self._place, None
        assert place is not None
        leasing = self._leasing
        if leasing.settle(self._holding, place):
            self.granted = True
            self._leave()
            leasing.granted(self._holding, self._waited)
        elif self._waiter is not None:
            self._rejoin(self._waiter)

    def waited(self, woken: bool) -> None:
        """The caller was woken, or has waited until `until`."""
        waiter = self._waiter
        assert waiter is not None
        # This has another wake-up, and then looks. A thread that decides does so, and
        # then wakes. One of the two sees the other.
        waiter.wakeup = self._new_wakeup()
        if not woken:
            self._leasing.sweep()
        elif not waiter.decided:
            self._leasing.serve()

    def abandon(self) -> None:
        """The caller has no lease: it was refused, or an exception ended its wait."""
        try:
            self._leave()
        finally:
            self._leasing.interrupted(self._holding)

    # -- inside ------------------------------------------------------------

    def _claim(self) -> Place | None:
        if self._leasing.line.waiting:
            return None
        return self._leasing.seating.claim(self._holding)

    def _join(self) -> None:
        """Wait behind all others. The wait is over where as many do as may."""
        leasing = self._leasing
        number = next(leasing.line.numbers)
        self._waiter = Waiter(self._holding, self._new_wakeup(), number)
        most = leasing.members.settings.max_waiting
        self._full = not leasing.line.join(self._waiter, most)
        leasing.counts.queued += not self._full
        if self._full:
            self._deadline = -inf
        leasing.serve()

    def _look_in_the_line(self) -> Slot | None:
        leasing, holding = self._leasing, self._holding
        while True:
            waiter = self._waiter
            assert waiter is not None
            if not waiter.decided and leasing.members.may_wait():
                now = clock.system_now()
                if now < self._deadline:
                    crowd = max(1.0, len(leasing.line) / CROWD)
                    self.until = min(self._deadline, now + RECHECK * crowd)
                    return None
            given = waiter.give_up()
            if given is None:
                self._leave()
                self._refuse()
            if holding.take_over(*given):
                self._place = given[1]
                return given[1][0]
            self._rejoin(waiter)

    def _rejoin(self, before: Waiter[W]) -> None:
        """Wait at the same place as before: the seat that was given cannot be used.

        What waited before leaves the line last, so no new caller finds that none waits.
        """
        line = self._leasing.line
        self._waiter = Waiter(self._holding, self._new_wakeup(), before.number)
        line.join(self._waiter)
        line.leave(before)
        self._leasing.serve()

    def _leave(self) -> None:
        """Wait no more. What was given in vain is for the next one."""
        waiter = self._waiter
        if waiter is None:
            return
        leasing = self._leasing
        waiter.give_up()
        leasing.line.leave(waiter)
        self._waiter = None
        self._waited = clock.system_now() - self._began
        leasing.counts.wait_s += self._waited
        if leasing.line.waiting:
            leasing.serve()

    def _refuse(self) -> NoReturn:
        """Count, announce and raise why there is no lease."""
        leasing = self._leasing
        error: PoolError = exhaustion.error_of(
            leasing.members,
            self._holding,
            self._bound,
            self._waited,
            waiting=len(leasing.line),
            full=self._full,
        )
        self._holding.counted = True
        if isinstance(error, PoolTimeoutError):
            leasing.counts.timed_out += 1
        else:
            leasing.counts.refused += 1
        if isinstance(error, PoolExhaustedError):
            leasing.emitter.emit("pool.exhausted", {"error": error})
        raise error
