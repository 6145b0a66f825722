"""`AsyncProducerPool`: the pool of producers, for tasks of asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, Literal, NoReturn, overload

from waterdrop_py._engine.introspection.health import Health
from waterdrop_py._front_end import components_of
from waterdrop_py._settings.arguments import required_seconds, seconds
from waterdrop_py._settings.foreign_names import ASYNC_POOL
from waterdrop_py.aio._connecting import TaskConnect
from waterdrop_py.aio._flush import flush_all
from waterdrop_py.aio._health import ShallowHealth
from waterdrop_py.aio._taking import AsyncPoolTaking
from waterdrop_py.aio._verbs import TaskVerbs
from waterdrop_py.aio.jobs import on_worker
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.pools._owners import current_owner
from waterdrop_py.pools._settings import PoolConfig, Strategy
from waterdrop_py.pools.pool import ProducerPool
from waterdrop_py.pools.stats import PoolReport


class AsyncProducerPool(AsyncPoolTaking, answers=ASYNC_POOL):
    """The asyncio front end of a `ProducerPool`, which it makes or is given.

    `async with pool.transaction() as producer:` for transactions that run at the same
    time, `async with pool.acquire() as producer:` for everything else. Slots, leases,
    order, events and errors are those of the `ProducerPool`, which `sync_pool` is, for
    threads and plain functions. Tasks and threads wait in one line; a task waits
    without a thread.

    The constructor needs no running loop, opens no socket and starts no thread. A pool
    belongs to no loop: each call belongs to the loop that runs it. What is not awaited
    neither blocks nor suspends. `async with` closes the pool at its end. Thread-safe.
    It can be neither copied nor pickled.

    Args:
        config: a `ProducerPool` alone, or what one takes.
        size, client_limit, min_connected, strategy, timeout, max_waiting, name: as in
            `ProducerPool`.

    Raises:
        ConfigurationInvalidError: with every violation at once.
        InvalidArgumentError: options are given beside a `ProducerPool`.
        Exception: what a callable `config` raises.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     async with AsyncProducerPool(config, size=8) as pool:
        ...         async with pool.acquire() as producer:
        ...             print((await producer.produce("orders", b"first")).topic)
        >>> asyncio.run(main())
        orders
    """

    __slots__ = ()

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
        else:
            config = ProducerPool(config, **options)
        super().__init__(config)

    @property
    def sync_pool(self) -> ProducerPool:
        """The `ProducerPool`, for threads and plain functions."""
        return self._pool

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
        """Open the first `min_connected` slots now, at least one, and prove them.

        As `ProducerPool.connect`. Returns the pool. Suspends for at most `timeout`
        seconds. Cancelling ends the wait at once, and there is no further attempt.

        Args:
            timeout, max_retries, interval_start, interval_step, interval_max: as in
                `AsyncProducer.connect`.
            errback: called on the loop before each retry of a slot, with the error and
                the seconds to wait; a plain function.

        Raises:
            PoolClosedError: the pool is closed.
            PoolExhaustedError: no slot is in service.
            PoolTimeoutError: a client that a slot had before did not close in time.
            BrokerUnreachableError, ProduceError: as `AsyncProducer.connect`.
            InvalidArgumentError, ConfigurationInvalidError: likewise.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducerPool(config, min_connected=2) as pool:
            ...         await pool.connect(timeout=10)
            ...         print(pool.stats().connected)
            >>> asyncio.run(main())
            2
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
        """Have at most `size` producers from now on. Not awaited.

        As `ProducerPool.resize`: it grows at once, and a smaller pool takes no lease
        away. A callable `config` is called here, on the thread of the loop.

        Args:
            size: producers at most, 1 to 1000.
            min_connected: slots that stay open. None: as before, or `size` if that is
                less.

        Raises:
            InvalidArgumentError: an argument is invalid; nothing has changed.
            ConfigurationInvalidError: with every violation of what a callable returned;
                nothing has changed.
            Exception: what a callable `config` raises.
            PoolClosedError: the pool is closed.
        """
        self._pool.resize(size, min_connected=min_connected)

    async def reload(
        self, config: PoolConfig | None = None, *, timeout: float | timedelta = 30.0
    ) -> None:
        """Use another configuration, or the same once more: make before break.

        As `ProducerPool.reload`. A callable `config` is called on a library thread.
        Suspends until the new producers are proven, for at most `timeout` seconds.
        Cancelling ends the wait at once; the reload is carried through, or fails.

        Args:
            config: as for the constructor; None is the one it has.
            timeout: seconds of the proof, or a `timedelta`.

        Raises:
            BrokerUnreachableError, ProduceError: the proof failed; nothing has changed.
            ConfigurationInvalidError: with every violation.
            InvalidArgumentError: `timeout` is not a duration.
            PoolTimeoutError: another reload did not end in time.
            PoolClosedError: the pool is closed.
            Exception: what a callable `config` raises.
        """
        await on_worker(partial(self._pool.reload, config, timeout=timeout))

    async def flush(self, timeout: float | timedelta | None = None) -> int:
        """Flush all producers side by side; returns how many messages are left.

        Waits also for what was sent in leases that have ended. Suspends for at most
        `timeout` seconds (None: without a bound). Opens no client where there is
        nothing to send. Cancelling ends the wait.

        Args:
            timeout: seconds, or a `timedelta`.

        Raises:
            PoolClosedError: the pool is closed.
            InvalidArgumentError: `timeout` is not a duration.
            WaterdropError: what `AsyncProducer.flush` raises, once all have ended.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducerPool(config) as pool:
            ...         async with pool.acquire() as producer:
            ...             await producer.send("orders", b"first")
            ...         print(await pool.flush(timeout=10))
            >>> asyncio.run(main())
            0
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
        """Whether the pool works, as `ProducerPool.health`.

        A deep one is awaited, and suspends for at most `timeout` seconds. A shallow one
        need not be: it is a `Health`, and awaiting it gives the same.

        Args:
            deep: ask the cluster, too.
            timeout: seconds of a deep check, or a `timedelta`.

        Raises:
            InvalidArgumentError: an argument is invalid. What is wrong with the cluster
                is in the result's `error`.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducerPool(config) as pool:
            ...         print(pool.health().healthy)
            ...         print((await pool.health(deep=True)).healthy)
            >>> asyncio.run(main())
            True
            True
        """
        if deep is True:
            return on_worker(partial(self._pool.health, deep=True, timeout=timeout))
        return ShallowHealth.of(self._pool.health(deep=deep, timeout=timeout))

    async def close(
        self, timeout: float | timedelta | None = None, *, force: bool = False
    ) -> PoolReport:
        """Close all producers for good; idempotent.

        As `ProducerPool.close`. Does not wait for leases of the calling task. Suspends
        for at most `timeout` seconds (None: the config's `close_timeout`) and 0.5 s
        more. Cancelling ends the wait at once, and the close continues; a later call
        waits for it, and gets its report.

        Args:
            timeout: seconds, or a `timedelta`.
            force: give everything up, and wait for nothing.

        Raises:
            InvalidArgumentError: an argument is invalid; nothing was closed.
            TransactionalCloseError: called inside a transaction of the pool.
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
