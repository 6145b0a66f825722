"""`Lease`: the right to use one producer of a pool, until it is released."""

from __future__ import annotations

from typing import Final, NoReturn

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py._engine.connection.states import ConnectionState
from waterdrop_py.errors import LeaseReleasedError
from waterdrop_py.pools._leasing import Leasing
from waterdrop_py.pools._slot import Holding
from waterdrop_py.producer import Producer

_OPEN: Final = ConnectionState.OPEN


class Lease:
    """The use of one producer of a pool. `ProducerPool.acquire` gives it.

    `with pool.acquire() as producer:` gives the producer, and releases the lease at the
    end of the block. Without `with`: `lease.producer` and `lease.release()`. A lease
    keeps its pool alive. One that is dropped unreleased goes back by itself, with a
    `ResourceWarning`. Thread-safe. It can be neither copied nor pickled.

    Example:
        >>> lease = pool.acquire()
        >>> lease.producer.produce_sync("orders", b"first").error is None
        True
        >>> lease.release()
        >>> lease.slot, lease.released
        (0, True)
    """

    __slots__ = ("__weakref__", "_holding", "_leasing", "_pool")

    _pool: object
    _leasing: Leasing
    _holding: Holding

    def __init__(self) -> None:
        raise TypeError("a Lease is not constructed: pool.acquire() gives one")

    @property
    def producer(self) -> Producer:
        """The producer.

        Raises:
            LeaseReleasedError: the lease was released.
        """
        producer = self._holding.producer
        if producer is None or not self._holding.is_out:
            self._refuse()
        return producer

    @property
    def slot(self) -> int:
        """Index of the producer's slot, from 0 on, also after the release."""
        place = self._holding.place
        return -1 if place is None else place[0].index

    @property
    def held_ms(self) -> float:
        """Milliseconds since the lease was taken, until its release at most."""
        return self._holding.held_ms

    @property
    def released(self) -> bool:
        """Whether the lease has ended."""
        return not self._holding.is_out

    @no_signal_at_entry
    def release(self) -> None:
        """Give the producer back. A second call does nothing.

        Never blocks, sends or flushes: what is in flight goes on, and what is buffered
        stays buffered. Callable from any thread, and from signal handlers.

        Raises:
            TransactionalCloseError: called inside a transaction of the producer; the
                lease goes on.
        """
        # Where nothing is unusual, this does what `Leasing.give_back` does, with no
        # call from the look at the clock on, and so no signal handler and no other
        # thread. One that raises before that ends the lease all the same
        # (test_a_handler_that_raises_while_a_lease_ends).
        try:
            leasing, holding = self._leasing, self._holding
            ended = False
            now = clock.now()
            members = leasing.members
            place, producer = holding.place, holding.producer
            if not (
                holding.over
                or place is None
                or producer is None
                or members.is_transactional
            ):
                slot, seat = place
                seats = slot.seats
                if seat in seats and seats[seat] is holding:
                    del seats[seat]
                holding.over = ended = True
                holding.ended_at = now
                leasing.counts.usage_s += now - holding.taken_at
                connection = producer._connection
                if (
                    leasing.line.waiting
                    or leasing.on_return is not None
                    or leasing.emitter.hears_leases
                    or slot.producer is not producer
                    or slot.outdated
                    or slot.index >= members.settings.size
                    or connection.state is not _OPEN
                    or connection.client.fatal is not None
                    or connection.fatal_client is not None
                ):
                    leasing.follow_up(holding)
        except BaseException:
            self._leasing.end(self._holding)
            raise
        if not ended:
            self._leasing.give_back(self._holding)

    def __enter__(self) -> Producer:
        holding = self._holding
        producer = holding.producer
        if producer is None or holding.over:
            self._refuse()
        return producer

    @no_signal_at_entry
    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.release()
        finally:
            pass

    @no_signal_at_entry
    def __del__(self) -> None:
        # Python prints and drops what is raised in here, and that may be a signal
        # handler's. So nothing is called for a lease that was released
        # (test_no_interruption_is_dropped_by_a_released_lease).
        try:
            if not self._holding.over:
                self._leasing.collect(self._holding)
        except AttributeError:  # the constructor was interrupted
            pass

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Lease cannot be copied or pickled: it stands for one use")

    def __repr__(self) -> str:
        pool = self._leasing.name
        state = "released" if self.released else f"held_ms={self.held_ms:.0f}"
        return f"<Lease of pool {pool!r} slot={self.slot} {state}>"

    def _refuse(self) -> NoReturn:
        pool = self._leasing.name
        raise LeaseReleasedError(
            f"this lease of pool {pool!r} was released; acquire() another one"
        )
