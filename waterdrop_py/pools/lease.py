"""`Lease`: the right to use one producer of a pool, until it is released."""

from __future__ import annotations

from types import CodeType
from typing import NoReturn

from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py.errors import LeaseReleasedError
from waterdrop_py.pools._fast_path import give_back, take
from waterdrop_py.pools._leasing import Leasing
from waterdrop_py.pools._slot import Holding, Owner
from waterdrop_py.producer import Producer


class Lease:
    """The use of one producer of a pool. `ProducerPool.acquire` gives it.

    `with pool.acquire() as producer:` gives the producer, and releases the lease at the
    end of the block. Without `with`: `lease.producer` and `lease.release()`. A lease
    keeps its pool alive. One that is dropped unreleased goes back by itself, with a
    `ResourceWarning`. Thread-safe. It can be neither copied nor pickled.
    """

    __slots__ = ("__weakref__", "_holding", "_leasing", "_pool")

    def __init__(
        self,
        pool: object,
        leasing: Leasing,
        bound: float,
        owner: Owner,
        code: CodeType,
        instruction: int,
    ) -> None:
        """Waits at most `bound` seconds until a producer is free; users call
        `ProducerPool.acquire`. The lease keeps `pool` alive."""
        self._pool = pool
        self._leasing = leasing
        holding = Holding(self)
        holding.owner = owner
        holding.code = code
        holding.instruction = instruction
        holding.place = holding.producer = holding.ended_at = None
        holding.over = True
        holding.counted = False
        self._holding = holding
        take(leasing, holding, bound)

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
        """Index of the producer's slot, also after the release."""
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
        try:
            give_back(self._leasing, self._holding)
        finally:
            pass

    def __enter__(self) -> Producer:
        holding = self._holding
        producer = holding.producer
        if producer is None or holding.over:
            self._refuse()
        return producer

    @no_signal_at_entry
    def __exit__(self, *_: object) -> None:
        try:
            give_back(self._leasing, self._holding)
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
