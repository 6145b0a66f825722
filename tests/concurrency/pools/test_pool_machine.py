"""A pool, driven in any order by callers that wait, with the promises of each step."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.doubles import Run, eventually
from tests.unit.pools.support import FENCED, SEQUENCE, Cluster, lose, transactional
from waterdrop_py import ProducerPool
from waterdrop_py._engine.connection.connection import every_connection
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py.errors import PoolExhaustedError
from waterdrop_py.pools._waiting import Waiter
from waterdrop_py.testing import FakeClock, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py import Lease, Producer
    from waterdrop_py.pools._slot import Place, Reserved

MOST = 4
WHICH = st.integers(0, MOST - 1)


class PoolMachine(RuleBasedStateMachine):
    """Leases, waits, losses, resizes and reloads, as chance has them."""

    def __init__(self) -> None:
        super().__init__()
        self.time = FakeClock()
        self.time.__enter__()
        self.cluster = Cluster()
        source = transactional(self.cluster, reload_on_transaction_fatal_error=False)
        self.pool = ProducerPool(source, size=2, timeout=30)
        self.recording = record(self.pool.monitor)
        self.events = self.recording.__enter__()
        self.leases: list[Lease] = []
        self.waiting: list[tuple[int, Run]] = []
        self.numbers: dict[object, int] = {}  # of the calls that wait, by thread
        self.order: list[int] = []
        # At the moment of the decision: threads that are woken together may go on in
        # another order.
        self.give = Waiter.give
        Waiter.give = self.note_given  # type: ignore[method-assign, assignment]
        self.number = 0
        self.outcomes: list[Any] = []
        self.sent = 0

    def one_of_them(self, which: int) -> list[Lease]:
        """One of the leases, if there is any.

        What hypothesis draws does not depend on how many there are: that is the
        threads' to say, and it draws the same for a second time.
        """
        return self.leases[which % len(self.leases) :][:1] if self.leases else []

    def served(self) -> None:
        """Take the leases of callers that have been served. A shrink may have taken the
        seat of one back that it had not settled in, and so another was first."""
        for each in list(self.waiting):
            if not each[1].is_alive():
                self.waiting.remove(each)
                with suppress(PoolExhaustedError):
                    self.leases.append(each[1].result())

    @property
    def note_given(self) -> Callable[[Waiter[Any], Reserved, Place], bool]:
        """`Waiter.give`, whose callers are noted."""

        def give(waiter: Waiter[Any], reserved: Reserved, place: Place) -> bool:
            given = self.give(waiter, reserved, place)
            number = self.numbers.get(waiter.holding.owner)
            if given and number is not None and number not in self.order:
                self.order.append(number)
            return given

        return give

    # -- what happens ------------------------------------------------------

    @rule()
    def take(self) -> None:
        """A call that does not wait gets what is available, and overtakes no other."""
        self.settle()
        available = self.pool.stats().available
        try:
            self.leases.append(self.pool.acquire(0))
        except PoolExhaustedError:
            # The pool may have learned of a fatal error by this very call.
            assert self.pool.stats().available < max(1, available)
        else:
            assert available > 0
            assert not self.pool.stats().waiting

    @rule()
    def wait(self) -> None:
        """A call that waits, on a thread of its own."""
        self.settle()
        if (
            len(self.waiting) == 3
            or self.pool.stats().available
            or not self.in_service()
        ):
            return
        number, self.number = self.number, self.number + 1

        def call() -> Lease:
            self.numbers[threading.current_thread()] = number
            return self.pool.acquire()

        run = Run(call)
        self.waiting.append((number, run))

        def waits() -> bool:
            line = self.pool._leasing.line.waiting  # noqa: SLF001
            return any(each.holding.owner is run for each in list(line))

        # What was not available may be so by now, when a client has been closed.
        eventually(lambda: waits() or not run.is_alive())

    @rule(which=WHICH)
    def give_back(self, which: int) -> None:
        """One of the leases, twice."""
        for lease in self.one_of_them(which):
            self.leases.remove(lease)
            lease.release()
            lease.release()

    @rule(which=WHICH)
    def send(self, which: int) -> None:
        """A transaction of a leased producer."""
        for lease in self.one_of_them(which):
            if lease.producer.health().error is None:
                self.transact(lease.producer)

    def transact(self, producer: Producer) -> None:
        """A transaction with a message."""
        with producer.transaction():
            handle = producer.produce_async("t", b"x")
            handle.add_done_callback(self.outcomes.append)
        self.sent += 1

    @rule(which=WHICH, code=st.sampled_from([FENCED, SEQUENCE]))
    def lose_one(self, which: int, code: int) -> None:
        """A leased producer meets a fatal error, if it is open."""
        for lease in self.one_of_them(which):
            if lease.producer.is_connected:
                lose(lease.producer, code)

    @rule()
    def fall_asleep(self) -> None:
        """Every client that may be closed is, in the background: the next send may meet
        its close."""
        for connection in every_connection():
            if connection.emitter.producer_id.startswith(self.pool.name):
                disconnect(connection, "requested")

    @rule(size=st.integers(1, MOST))
    def resize(self, size: int) -> None:
        """Both ways."""
        self.pool.resize(size)

    @rule()
    def reload(self) -> None:
        """The same configuration once more."""
        self.pool.reload()

    # -- what always holds -------------------------------------------------

    def in_service(self) -> bool:
        """Whether a lease may be granted sooner or later."""
        return any(slot.error is None for slot in self.pool.slots())

    def settle(self) -> None:
        """Wait until what is free of leases is closed, and who can be served is."""

        def settled() -> bool:
            self.served()
            stats = self.pool.stats()
            busy = {id(lease.producer) for lease in self.leases}
            return stats.draining <= len(busy) and not (
                stats.waiting and (self.may_grant() or not self.in_service())
            )

        eventually(settled, "the pool settles")

    def may_grant(self) -> bool:
        """Whether a slot is free although callers wait."""
        slots = self.pool.slots()
        out = {lease.slot for lease in self.leases}
        free = [each for each in slots if each.error is None and each.index not in out]
        return bool(free) and len(out) < self.pool.size

    @invariant()
    def leases_are_exclusive(self) -> None:
        """At most one of each slot, none beyond the size of then, and no two clients
        with one id."""
        self.served()
        slots = [lease.slot for lease in self.leases]
        assert len(slots) == len(set(slots))
        assert all(each.leases <= 1 for each in self.pool.slots())
        assert self.cluster.together == []
        assert all(slot < MOST for slot in slots)

    @invariant()
    def first_come_first_served(self) -> None:
        """Who waits is served in the order of the calls."""
        assert self.order == sorted(self.order)

    @invariant()
    def requests_are_counted_once(self) -> None:
        """Granted, timed out, refused or waiting."""
        stats = self.pool.stats()
        ended = stats.granted + stats.timed_out + stats.refused
        assert stats.requests == ended + stats.waiting
        assert stats.leased <= max(len(self.leases) + len(self.waiting), 0)

    def teardown(self) -> None:
        """What was given back is available, and every message has one outcome."""
        Waiter.give = self.give  # type: ignore[method-assign]

        def released() -> bool:
            self.served()
            while self.leases:
                self.leases.pop().release()
            return not self.waiting

        eventually(released, "who waits is served")
        if self.in_service():
            usable = sum(slot.error is None for slot in self.pool.slots())
            eventually(lambda: self.pool.stats().available == usable)
        report = self.pool.close(5)
        assert report.holders == ()
        eventually(lambda: len(self.outcomes) == self.sent)
        stats = self.pool.stats()
        assert stats.acknowledged + stats.failed == stats.produced == self.sent
        assert stats.in_flight == 0
        eventually(lambda: self.cluster.open == [])
        self.recording.__exit__(None, None, None)
        self.time.__exit__()


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    print_blob=False,
    phases=[
        Phase.generate
    ],  # what fails waits for its bound: shrinking would take long
)
