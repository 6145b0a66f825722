"""How a task asks a pool for a lease: `acquire` and `transaction`."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from types import FrameType
from typing import Any

from waterdrop_py.aio.lease import LeaseRequest, PoolTransaction
from waterdrop_py.aio.producer import AsyncProducer
from waterdrop_py.pools._figures import PoolFigures
from waterdrop_py.pools.pool import ProducerPool


class AsyncPoolTaking(PoolFigures):
    """A base class of `AsyncProducerPool`."""

    __slots__ = ("_pool",)

    def __init__(self, pool: ProducerPool) -> None:
        super().__init__(pool._leasing)
        self._pool = pool

    def acquire(
        self, timeout: float | timedelta | None = None, *, block: bool = True
    ) -> LeaseRequest:
        """Lease a producer: `async with pool.acquire() as producer:`.

        Or `lease = await pool.acquire()`. The call takes nothing; awaiting or entering
        what it returns does, and waits at most `timeout` seconds (None: the pool's
        `timeout`); 0 or `block=False`: neither waits nor suspends. Leases are granted
        in that order, to tasks and threads alike. Opens nothing. A wait that is
        cancelled loses no lease.

        Args:
            timeout: seconds, or a `timedelta`.
            block: False does not wait.

        Raises:
            InvalidArgumentError: an argument is invalid; the call raises it. Awaiting
                or entering raises the others.
            PoolTimeoutError: none was free in time.
            PoolExhaustedError: none is free, and the request does not wait; or no slot
                is in service.
            TooManyRequestsError: `max_waiting` others wait.
            PoolClosedError: the pool is closed, or was closed meanwhile.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducerPool(config) as pool:
            ...         async with pool.acquire(timeout=2.0) as producer:
            ...             await producer.send("orders", b"first")
            ...         print(pool.stats().granted, pool.stats().leased)
            >>> asyncio.run(main())
            1 0
        """
        bound = self._pool._bound(timeout, block)
        return LeaseRequest(self._pool, bound, _place_of(sys._getframe().f_back))

    def transaction(
        self, timeout: float | timedelta | None = None, *, block: bool = True
    ) -> AbstractAsyncContextManager[AsyncProducer, bool]:
        """`async with pool.transaction() as producer:`: a lease and a transaction.

        The block ends the transaction first, as `producer.transaction()` does, and then
        the lease, also when the task is cancelled. The call takes nothing; entering the
        block waits as `acquire` does. Each `async with` needs a call of its own.

        Args:
            timeout: seconds that entering the block waits, or a `timedelta`.
            block: False does not wait.

        Raises:
            InvalidArgumentError: an argument is invalid.
            ProducerNotTransactionalError: there is no `transactional.id`.
            PoolClosedError: the pool is closed.
            WaterdropError: what `acquire` and `AsyncProducer.transaction` raise, by the
                block.

        Example:
            >>> import asyncio
            >>> kafka = {"bootstrap.servers": "localhost:9092", "transactional.id": "t"}
            >>> async def main():
            ...     async with AsyncProducerPool({"kafka": kafka}, size=2) as pool:
            ...         async with pool.transaction() as producer:
            ...             await producer.send("payments", b"first")
            ...         print(pool.stats().acknowledged)
            >>> asyncio.run(main())
            1
        """
        self._pool._check_transactional(timeout, block)
        bound = self._pool._bound(timeout, block)
        taken_by = _place_of(sys._getframe().f_back)
        return PoolTransaction(LeaseRequest(self._pool, bound, taken_by))


def _place_of(frame: FrameType | None) -> Any:
    """The function that calls the library, and how far it is."""
    frame = frame or sys._getframe()  # a task that runs nothing else
    return frame.f_code, frame.f_lasti
