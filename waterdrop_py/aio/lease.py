"""A lease of a pool for a task: how it is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import CodeType, TracebackType
from typing import NoReturn

from waterdrop_py._engine.concurrency.loops import Waiter
from waterdrop_py.aio.jobs import on_worker
from waterdrop_py.aio.producer import AsyncProducer
from waterdrop_py.errors import PoolError
from waterdrop_py.pools._fast_path import grant
from waterdrop_py.pools._owners import TaskOwner, current_owner
from waterdrop_py.pools._turn import Turn
from waterdrop_py.pools.lease import Lease
from waterdrop_py.pools.pool import ProducerPool


class AsyncLease:
    """The use of one producer of a pool. `await pool.acquire()` gives it.

    As `Lease`, with a producer whose verbs are awaited. `async with` releases it at the
    end of the block. Nothing of a lease itself blocks or suspends. A lease keeps its
    pool alive. One that is dropped unreleased goes back by itself, with a
    `ResourceWarning`. Thread-safe. It can be neither copied nor pickled.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     async with AsyncProducerPool(config, size=2) as pool:
        ...         lease = await pool.acquire()
        ...         try:
        ...             await lease.producer.produce("orders", b"first")
        ...         finally:
        ...             lease.release()
        ...         print(lease.slot, lease.released)
        >>> asyncio.run(main())
        0 True
    """

    __slots__ = ("__weakref__", "_front", "_lease")

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._front: AsyncProducer | None = None

    @property
    def producer(self) -> AsyncProducer:
        """The producer.

        Raises:
            LeaseReleasedError: the lease was released.
        """
        producer = self._lease.producer
        if self._front is None:
            self._front = AsyncProducer(producer)
        return self._front

    @property
    def slot(self) -> int:
        """Index of the producer's slot, from 0 on, also after the release."""
        return self._lease.slot

    @property
    def held_ms(self) -> float:
        """Milliseconds since the lease was taken, until its release at most."""
        return self._lease.held_ms

    @property
    def released(self) -> bool:
        """Whether the lease has ended."""
        return self._lease.released

    def release(self) -> None:
        """Give the producer back. A second call does nothing.

        Sends and flushes nothing: what is in flight goes on, and what is buffered stays
        buffered. Callable from any thread.

        Raises:
            TransactionalCloseError: called inside a transaction of the producer; the
                lease goes on.
        """
        self._lease.release()

    async def __aenter__(self) -> AsyncProducer:
        return self.producer

    async def __aexit__(self, *_: object) -> None:
        self._lease.release()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an AsyncLease cannot be copied or pickled: it stands for one use"
        )

    def __repr__(self) -> str:
        return repr(self._lease).replace("<Lease", "<AsyncLease", 1)


class LeaseRequest:
    """What `AsyncProducerPool.acquire` returns: awaited or entered, it takes a lease.

    Once; each lease needs a call of its own. `await request` gives an `AsyncLease`,
    `async with request` its producer. The lease belongs to the task that has called
    `acquire`, or else to the one that awaits. A wait that is cancelled loses no lease.

    Raises:
        PoolTimeoutError: none was free in time.
        PoolExhaustedError: none is free, and the request does not wait; or no slot is
            in service.
        TooManyRequestsError: `max_waiting` others wait.
        PoolClosedError: the pool is closed, or was closed meanwhile.
        PoolError: the request was used before.
    """

    __slots__ = ("_bound", "_lease", "_owner", "_pool", "_taken_by")

    def __init__(
        self, pool: ProducerPool, bound: float, taken_by: tuple[CodeType, int]
    ) -> None:
        """`taken_by`: the function that asks, and how far it is."""
        self._pool: ProducerPool | None = pool
        self._bound = bound
        self._taken_by = taken_by
        self._owner = current_owner()
        self._lease: AsyncLease | None = None

    def __await__(self) -> Generator[object, None, AsyncLease]:
        return self._take().__await__()

    async def __aenter__(self) -> AsyncProducer:
        lease = await self._take()
        try:
            producer = lease.producer
        except BaseException:
            lease.release()
            raise
        self._lease = lease
        return producer

    async def __aexit__(self, *_: object) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    async def _take(self) -> AsyncLease:
        pool, self._pool = self._pool, None
        if pool is None:
            raise PoolError(
                "this request was used before; each lease needs an acquire() of its own"
            )
        if pool._stale and self._bound > 0:
            await on_worker(pool._prepare)  # it may call what the user gave as config
        pool._prepare()
        pool._opening.start()
        owner = self._owner
        if not isinstance(owner, TaskOwner):
            owner = current_owner()
        lease = grant(pool, pool._leasing, None, owner, *self._taken_by)
        if not lease._holding.counted:
            await _wait_for(lease, self._bound)
        return AsyncLease(lease)


async def _wait_for(lease: Lease, bound: float) -> None:
    """Grant `lease` within `bound` seconds; 0: without a suspension. As `take`."""
    leasing, holding = lease._leasing, lease._holding
    turn = Turn(leasing, holding, bound, TaskWakeup)
    try:
        while not turn.granted:
            slot = turn.find()
            if slot is None:
                turn.waited(await turn.wakeup.wait(turn.until))
                continue
            if slot.producer is None and bound > 0:
                # Its making would hold the loop, and run subscribers there.
                await on_worker(partial(leasing.members.openable, slot))
            turn.settle()
    except BaseException:
        turn.abandon()
        raise


class TaskWakeup(Waiter):
    """Wakes a task that waits for a lease. Each object does so once."""

    __slots__ = ("_is_told",)

    def __init__(self) -> None:
        super().__init__()
        self._is_told = False

    def __call__(self, _: object = None) -> None:
        """Wake the task. Once: a loop that does not run would keep each wake-up."""
        if not self._is_told:
            super().__call__()
            self._is_told = True

    @property
    def is_away(self) -> bool:
        """Whether the task's loop does not run, so that it can take nothing now."""
        return self.is_lost()

    @property
    def is_gone(self) -> bool:
        """Whether the task's loop never runs again."""
        return self.future.get_loop().is_closed()


class PoolTransaction:
    """The block of `AsyncProducerPool.transaction`; each `async with` needs its own.

    The transaction ends first, and the lease second.
    """

    __slots__ = ("_block", "_lease", "_request")

    def __init__(self, request: LeaseRequest) -> None:
        self._request = request
        self._lease: AsyncLease | None = None
        self._block: AbstractAsyncContextManager[None, bool | None] | None = None

    async def __aenter__(self) -> AsyncProducer:
        lease = await self._request
        try:
            producer = lease.producer
            block = producer.transaction()
            await block.__aenter__()
        except BaseException:
            lease.release()
            raise
        self._lease, self._block = lease, block
        return producer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        lease, self._lease = self._lease, None
        block, self._block = self._block, None
        if lease is None or block is None:
            return False
        try:
            return bool(await block.__aexit__(kind, error, trace))
        finally:
            lease.release()
