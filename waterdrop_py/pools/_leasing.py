"""`Leasing`: grants leases in the order of the calls, and takes them back."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py.errors import TransactionalCloseError
from waterdrop_py.pools._seating import Seating
from waterdrop_py.pools._waiting import WaitingLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.pools._emitter import PoolEmitter
    from waterdrop_py.pools._members import Members
    from waterdrop_py.pools._slot import Holding, Place


class Counts:
    """Figures of a pool's leases. Each changes by one `+=` that calls nothing, so no
    other thread and no signal handler comes in between."""

    __slots__ = (
        "granted",
        "leaked",
        "queued",
        "refused",
        "timed_out",
        "usage_s",
        "wait_s",
        "warm",
    )

    def __init__(self) -> None:
        self.granted = self.warm = self.queued = self.timed_out = self.refused = 0
        self.leaked = 0
        self.usage_s = self.wait_s = 0.0


class Leasing:
    """The leases of one pool. Thread-safe, re-entrant, without a lock.

    A lease is granted once it has a seat in a slot, which one atomic step takes. The
    thread that frees a seat takes it for the caller that waits longest.

    A caller that has to wait joins the line, and then looks for a seat. A thread that
    frees a seat looks at the line afterwards. One of the two sees the other
    (test_a_release_meets_a_caller_that_begins_to_wait).

    Attributes:
        members: the slots and their producers.
        seating: takes seats in the slots.
        line: the callers that wait.
        on_return: called when a lease has ended; a close waits for that.
    """

    __slots__ = (
        "counts",
        "emitter",
        "line",
        "members",
        "on_return",
        "runtime",
        "seating",
    )

    def __init__(self, members: Members, emitter: PoolEmitter) -> None:
        self.members = members
        self.seating = Seating(members)
        self.emitter = emitter
        self.runtime = RUNTIME
        self.on_return: Callable[[], None] | None = None
        self.start_afresh()

    def start_afresh(self) -> None:
        """No caller waits, and nothing is counted: at first, and in a forked child."""
        self.line = WaitingLine()
        self.counts = Counts()

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.members.settings.name

    # -- taking ------------------------------------------------------------

    def interrupted(self, holding: Holding) -> None:
        """The call for a lease raises: its caller has none."""
        if not holding.counted:  # a signal handler raised
            holding.counted = True
            self.counts.refused += 1
        if holding.over:
            self._forget(holding)
        else:
            self.end(holding)

    def settle(self, holding: Holding, place: Place) -> bool:
        """Have `place`; False if its slot may not be used any more.

        This notes the place, and then looks at the pool. A close or a reload changes
        the pool, and then looks at the leases. One of the two sees the other.
        """
        slot = place[0]
        slot.used_at = holding.taken_at = clock.now()
        holding.place = place
        producer = self.seating.producer_for(slot, holding)
        if producer is None:
            self.seating.leave_unused(holding, place)
            holding.place = None
            return False
        holding.over = False
        if producer.is_open:
            self.counts.warm += 1
        return True

    def granted(self, holding: Holding, waited: float) -> None:
        """Count and announce a lease, for which its caller waited so many seconds."""
        holding.counted = True
        self.counts.granted += 1
        if self.emitter.hears_leases:
            self.emitter.acquired(holding, waited * 1000)

    def _forget(self, holding: Holding) -> None:
        """Free each seat that was taken for `holding`: its caller was interrupted."""
        self.seating.leave_all(holding)
        self.serve()

    def serve(self) -> None:
        """Give free seats to the callers that wait, in their order.

        Threads may do so at the same moment, and take two seats for one caller. The
        first decides, and the other seat is left.
        """
        line = self.line
        while (waiter := line.first()) is not None:
            reserved = waiter.reserve()
            if reserved is not None:
                place = self.seating.claim(reserved)
                if place is None:
                    return
                if not waiter.give(reserved, place):
                    self.seating.leave_unused(reserved, place)
            line.leave(waiter)

    def sweep(self) -> None:
        """Do what signal handlers may have left undone, by raising between two steps.

        Callers that wait do it, and the poller once a second.
        """
        self.seating.free_lost_seats()
        self.members.close_unused()
        self.serve()

    # -- giving back -------------------------------------------------------

    @no_signal_at_entry
    def give_back(self, holding: Holding) -> None:
        """End the lease. Never blocks. A second call does nothing.

        A signal handler that raises ends it all the same
        (test_a_handler_that_raises_loses_no_lease).

        Raises:
            TransactionalCloseError: called inside a transaction of the producer.
        """
        try:
            inside = not holding.over and self._is_inside(holding)
        except BaseException:
            self.end(holding)
            raise
        if inside:
            raise TransactionalCloseError(
                "a lease cannot be released inside a transaction of its producer; "
                "leave the block first"
            )
        self.end(holding)

    def _is_inside(self, holding: Holding) -> bool:
        if not self.members.is_transactional:
            return False
        return holding.producer is not None and holding.producer.in_transaction

    @no_signal_at_entry
    def end(self, holding: Holding) -> None:
        """End the lease, whatever it is inside of. A second call does nothing."""
        try:
            holding.leave()
        finally:
            self._after(holding)

    @no_signal_at_entry
    def _after(self, holding: Holding) -> None:
        try:
            now = holding.taken_at
            now = clock.now()
        finally:
            first = not holding.over
            if first:
                holding.over = True
                holding.ended_at = now
                self.counts.usage_s += now - holding.taken_at
            self.follow_up(holding, told=not first)

    @no_signal_at_entry
    def follow_up(self, holding: Holding, *, told: bool = False) -> None:
        """Do what follows the end of a lease. `told`: its event was sent before."""
        try:
            place, producer = holding.place, holding.producer
            if place is not None and producer is not None:
                self.members.look_after(place[0], producer)
        except BaseException:
            self.sweep()  # a signal handler raised: repeat all of it
            raise
        finally:
            if self.line.waiting:
                self.serve()
            if self.on_return is not None:
                self.on_return()
        if self.emitter.hears_leases and not told:
            self.emitter.released(holding)

    def collect(self, holding: Holding) -> None:
        """End a lease that was dropped unreleased. Called by a finalizer.

        A lease that is left when the process ends is left alone. Modules may be empty
        then, so only attributes are read (test_a_lease_that_is_left_at_the_exit).
        """
        if self.runtime.ended:
            return
        self.counts.leaked += 1
        self.end(holding)
        self.emitter.leaked(holding)
        warnings.warn(
            f"a lease of pool {self.name!r} was dropped without release(); "
            f"{holding.owner.name} took it at {holding.where}",
            ResourceWarning,
            stacklevel=3,
        )
