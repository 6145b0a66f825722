"""`AsyncProducerPool`: the pool of producers, for tasks of asyncio."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any, Literal, NoReturn, overload

from waterdrop_py._engine.introspection.health import Health
from waterdrop_py._front_end import components_of
from waterdrop_py._settings.arguments import required_seconds, seconds
from waterdrop_py._settings.foreign_names import ASYNC_POOL
from waterdrop_py.aio._connecting import TaskConnect
from waterdrop_py.aio._flush import flush_all
from waterdrop_py.aio._health import ShallowHealth
from waterdrop_py.aio._verbs import TaskVerbs
from waterdrop_py.aio.jobs import on_worker
from waterdrop_py.aio.lease import LeaseRequest, PoolTransaction
from waterdrop_py.aio.producer import AsyncProducer
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.pools._figures import PoolFigures
from waterdrop_py.pools._owners import current_owner
from waterdrop_py.pools._settings import PoolConfig, Strategy
from waterdrop_py.pools.pool import ProducerPool
from waterdrop_py.pools.stats import PoolReport


class AsyncProducerPool(PoolFigures, answers=ASYNC_POOL):
    """The asyncio front end of a `ProducerPool`, which it makes or is given.

    `async with pool.transaction() as producer:` for transactions that run at the same
    time, `async with pool.acquire() as producer:` for everything else. Slots, leases,
    order, events and errors are those of the `ProducerPool`, which `sync_pool` is, for
    threads and plain functions. Tasks and threads wait in one line; a task waits
    without a thread.

    The constructor needs no running loop, opens no socket and starts no thread. A pool
    belongs to no loop: each call belongs to the loop that runs it. `async with` closes
    the pool at its end. Thread-safe. It can be neither copied nor pickled.

    Args:
        config: a `ProducerPool` alone, or what one takes, with its options.

    Raises:
        ConfigurationInvalidError: with every violation at once.
        InvalidArgumentError: options are given beside a `ProducerPool`.
        Exception: what a callable `config` raises.
    """

    __slots__ = ("_pool",)

    def __init__(  # noqa: PLR0913 - the options of `ProducerPool`, named for editors
        self,
        config: PoolConfig | ProducerPool,
        *,
        size: int = 10,
        client_limit: int = 1,
        min_connected: int = 0,
        strategy: Strategy = "pack",
        timeout: float | timedelta = 5.0,
        max_waiting: int | None = None,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        options: dict[str, Any] = {
            "size": size,
            "client_limit": client_limit,
            "min_connected": min_connected,
            "strategy": strategy,
            "timeout": timeout,
            "max_waiting": max_waiting,
            "name": name,
            **unknown,
        }
        if isinstance(config, ProducerPool):
            _refuse_options(options)
            self._pool = config
        else:
            self._pool = ProducerPool(config, **options)
        super().__init__(self._pool._leasing)

    @property
    def sync_pool(self) -> ProducerPool:
        """The `ProducerPool`, for threads and plain functions."""
        return self._pool

    # -- leases ------------------------------------------------------------

    def acquire(
        self, timeout: float | timedelta | None = None, *, block: bool = True
    ) -> LeaseRequest:
        """Lease a producer: `async with pool.acquire() as producer:`.

        Or `lease = await pool.acquire()`. The call takes nothing; awaiting or entering
        what it returns does, and waits at most `timeout` seconds (None: the pool's
        `timeout`); 0 or `block=False`: neither waits nor suspends. Leases are granted
        in that order, to tasks and threads alike. Opens nothing. A wait that is
        cancelled loses no lease.

        Raises:
            InvalidArgumentError: an argument is invalid.
            PoolError: what `ProducerPool.acquire` raises, when awaited or entered.
        """
        bound = self._pool._bound(timeout, block)
        return LeaseRequest(self._pool, bound, _place_of(sys._getframe().f_back))

    def transaction(
        self, timeout: float | timedelta | None = None, *, block: bool = True
    ) -> AbstractAsyncContextManager[AsyncProducer, bool]:
        """`async with pool.transaction() as producer:`: a lease and a transaction.

        The block ends the transaction first, as `producer.transaction()` does, and then
        the lease, also when the task is cancelled. The call takes nothing. Each
        `async with` needs a call of its own.

        Raises:
            ProducerNotTransactionalError: there is no `transactional.id`.
            PoolClosedError: the pool is closed.
            WaterdropError: what `acquire` and `AsyncProducer.transaction` raise, on
                entering the block.
        """
        self._pool._check_transactional(timeout, block)
        bound = self._pool._bound(timeout, block)
        taken_by = _place_of(sys._getframe().f_back)
        return PoolTransaction(LeaseRequest(self._pool, bound, taken_by))

    # -- changes -----------------------------------------------------------

    async def connect(
        self,
        timeout: float | timedelta = 30.0,
        *,
        errback: Callable[[BaseException, float], object] | None = None,
        max_retries: int | None = None,
        interval_start: float | timedelta = 2,
        interval_step: float | timedelta = 2,
        interval_max: float | timedelta = 30,
    ) -> AsyncProducerPool:
        """As `ProducerPool.connect`. `errback` is called on the loop. Returns the pool.

        Cancelling ends the wait at once, and there is no further attempt.
        """
        bound = required_seconds("timeout", timeout)
        connect = TaskConnect(
            errback,
            max_retries=max_retries,
            interval_start=interval_start,
            interval_step=interval_step,
            interval_max=interval_max,
        )
        try:
            await on_worker(partial(self._pool._connect, bound, connect))
        finally:
            connect.end()
        return self

    def resize(self, size: int, *, min_connected: int | None = None) -> None:
        """As `ProducerPool.resize`: never blocks, and is not awaited."""
        self._pool.resize(size, min_connected=min_connected)

    async def reload(
        self, config: PoolConfig | None = None, *, timeout: float | timedelta = 30.0
    ) -> None:
        """As `ProducerPool.reload`. A callable `config` is called on a library thread.

        Cancelling ends the wait at once; the reload is carried through, or fails.
        """
        await on_worker(partial(self._pool.reload, config, timeout=timeout))

    async def flush(self, timeout: float | timedelta | None = None) -> int:
        """As `ProducerPool.flush`. Cancelling ends the wait.

        Raises:
            PoolClosedError: the pool is closed.
            InvalidArgumentError: `timeout` is not a duration.
            WaterdropError: what `AsyncProducer.flush` raises, once all have ended.
        """
        self._pool._refuse_closed()
        bound = seconds("timeout", timeout)
        parts = [components_of(each) for each in self._members.busy()]
        return await flush_all([(each, TaskVerbs(each)) for each in parts], bound)

    @overload
    def health(
        self, *, deep: Literal[False] = False, timeout: float | timedelta = 5.0
    ) -> ShallowHealth: ...

    @overload
    def health(
        self, *, deep: bool, timeout: float | timedelta = 5.0
    ) -> Awaitable[Health]: ...

    def health(
        self, *, deep: bool = False, timeout: float | timedelta = 5.0
    ) -> Awaitable[Health]:
        """As `ProducerPool.health`. A deep one is awaited; another one may be."""
        if deep is True:
            return on_worker(partial(self._pool.health, deep=True, timeout=timeout))
        return ShallowHealth.of(self._pool.health(deep=deep, timeout=timeout))

    async def close(
        self, timeout: float | timedelta | None = None, *, force: bool = False
    ) -> PoolReport:
        """As `ProducerPool.close`. Does not wait for leases of the calling task.

        Cancelling ends the wait at once, and the close continues; a later call waits
        for it, and gets its report.
        """
        wait = self._pool._begin_close(timeout, force, current_owner())
        return await on_worker(wait)

    async def __aenter__(self) -> AsyncProducerPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an AsyncProducerPool cannot be copied or pickled: it owns clients"
        )


def _refuse_options(options: dict[str, Any]) -> None:
    """Refuse options beside a `ProducerPool`."""
    defaults = ProducerPool.__init__.__kwdefaults__ or {}
    given = [
        name
        for name, value in options.items()
        if name not in defaults or value != defaults[name]
    ]
    if given:
        raise InvalidArgumentError(
            f"{', '.join(sorted(given))}: options cannot be given beside a "
            "ProducerPool, which has its own; give either"
        )


def _place_of(frame: FrameType | None) -> Any:
    """The function that calls the library, and how far it is."""
    frame = frame or sys._getframe()  # a task that runs nothing else
    return frame.f_code, frame.f_lasti
