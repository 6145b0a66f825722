"""`ProducerPool`: up to `size` producers, each leased to one caller at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import current_thread
from typing import Any, NoReturn

from waterdrop_py._engine.concurrency.side_by_side import acting_for
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.concurrency.weak_calls import call_if_alive
from waterdrop_py._settings.arguments import flag, required_seconds, seconds
from waterdrop_py.errors import TransactionalCloseError
from waterdrop_py.monitor import Monitor
from waterdrop_py.pools import _process as process
from waterdrop_py.pools._changing import PoolChanging
from waterdrop_py.pools._closing import PoolClose, begin_close
from waterdrop_py.pools._emitter import PoolEmitter
from waterdrop_py.pools._leasing import Leasing
from waterdrop_py.pools._members import Members
from waterdrop_py.pools._opening import Opening
from waterdrop_py.pools._producer import PoolProducer
from waterdrop_py.pools._reloading import Reloading
from waterdrop_py.pools._room import Room
from waterdrop_py.pools._settings import PoolConfig, PoolSettings, Strategy
from waterdrop_py.pools.stats import PoolReport


class ProducerPool(PoolChanging):
    """Leases up to `size` producers: for work that must not share one.

    `with pool.transaction() as producer:` for transactions that run at the same time,
    `with pool.acquire() as producer:` for everything else. A service that only sends
    takes one `Producer`, which its threads share.

    `config` is what `Producer` takes: a `Config`, a mapping, or a URL. It may also be a
    callable, which is called with each index, 0 to `size` - 1, and returns one of
    these. With a `transactional.id` in `config`, that of slot i is
    `<transactional.id>-<i>`.

    The constructor opens no socket and starts no thread. A slot's producer is made when
    it is first needed. From `min_connected` on, a slot is closed after the config's
    `idle_disconnect_timeout`, or after 3 minutes where that is 0. Thread-safe. A
    context manager that closes the pool. It can be neither copied nor pickled.

    Args:
        config: what each producer is made with.
        size: how many producers there are at most, 1 to 1000.
        client_limit: how many leases one producer has at a time at most; 1 with a
            `transactional.id`.
        min_connected: how many slots are opened in the background and stay open, 0 to
            `size`.
        strategy: which free slot is leased. "pack": an open one before a closed one,
            then the lowest index, so that the rest fall idle. "spread": the fewest
            leases, then the least recently used.
        timeout: seconds that `acquire()` waits at most; a number or a `timedelta`.
        max_waiting: how many callers may wait; None: no limit.
        name: the pool's name in events, logs and ids; by default the config's `id`, or
            `pool-` and 12 hex digits.

    Raises:
        ConfigurationInvalidError: with every violation at once.
        Exception: what a callable `config` raises.

    Example:
        >>> config = Config(kafka={"bootstrap.servers": "localhost:9092"})
        >>> with ProducerPool(config, size=8) as pool, pool.acquire() as producer:
        ...     producer.produce_sync("orders", b"first").topic
        'orders'
    """

    __slots__ = ("_closes", "_emitter")

    def __init__(  # noqa: PLR0913 - the options of the page, named for editors
        self,
        config: PoolConfig,
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
        options = {
            "size": size,
            "client_limit": client_limit,
            "min_connected": min_connected,
            "strategy": strategy,
            "timeout": timeout,
            "max_waiting": max_waiting,
            "name": name,
        }
        settings = PoolSettings.of(config, {**options, **unknown})
        tags = settings.base.tags if settings.base is not None else {}
        # An open client keeps the monitor, which must not keep the pool.
        me = weakref.ref(self)
        monitor = Monitor(partial(call_if_alive, me, ProducerPool._refresh))
        self._emitter = PoolEmitter(self, settings.name, tags, monitor)
        self._emitter.given_id = settings.label
        members = Members(settings, monitor, self._emitter)
        opening = Opening(members, self._emitter)
        reloading = Reloading(members, opening, self._emitter)
        super().__init__(Leasing(members, self._emitter), opening, reloading)
        self._closes: dict[int, PoolClose] = {}
        members.on_room = Room(self._leasing, self._opening)
        process.register(self)
        self._announce()

    def _announce(self) -> None:
        """Tell that the pool was made."""
        settings = self._members.settings
        self._emitter.emit(
            "pool.created",
            {
                "size": settings.size,
                "client_limit": settings.client_limit,
                "min_connected": settings.min_connected,
            },
        )

    # -- all producers -----------------------------------------------------

    def connect(
        self,
        timeout: float | timedelta = 30.0,
        *,
        errback: Callable[[BaseException, float], object] | None = None,
        max_retries: int | None = None,
        interval_start: float | timedelta = 2,
        interval_step: float | timedelta = 2,
        interval_max: float | timedelta = 30,
    ) -> ProducerPool:
        """Open the first `min_connected` slots now, at least one, and prove them.

        Side by side; the first error is raised once all have ended. Blocks for at most
        `timeout` seconds. Takes no lease, so it works on an exhausted pool. With more
        than one slot, `errback` runs on library threads. Thread-safe. Returns the pool.

        Args:
            timeout, errback, max_retries, interval_start, interval_step, interval_max:
                as in `Producer.connect`, for each slot.

        Raises:
            PoolClosedError: the pool is closed.
            PoolExhaustedError: no slot is in service.
            PoolTimeoutError: a client that a slot had before did not close in time.
            BrokerUnreachableError, ProduceError, InvalidArgumentError: as
                `Producer.connect`.

        Example:
            >>> with ProducerPool(config, min_connected=2) as pool:
            ...     pool.connect(timeout=10).stats().connected
            2
        """

        def connect(producer: PoolProducer, left: float) -> None:
            producer.connect(
                left,
                errback=errback,
                max_retries=max_retries,
                interval_start=interval_start,
                interval_step=interval_step,
                interval_max=interval_max,
            )

        self._connect(required_seconds("timeout", timeout), connect)
        return self

    def _connect(
        self, bound: float, connect: Callable[[PoolProducer, float], object]
    ) -> None:
        self._refuse_closed()
        self._prepare()
        self._opening.connect(bound, connect)

    def flush(self, timeout: float | timedelta | None = None) -> int:
        """Flush all producers side by side; returns how many messages are left.

        Waits also for what was sent in leases that have ended. Blocks for at most
        `timeout` seconds (None: without a bound). Opens no client where there is
        nothing to send. Thread-safe.

        Args:
            timeout: seconds, or a `timedelta`.

        Raises:
            PoolClosedError: the pool is closed.
            InvalidArgumentError: `timeout` is not a duration.
            ReentrantCallError: called inside a callback or a verb of a producer.
            WaterdropError: what `Producer.flush` raises, once all have ended.

        Example:
            >>> with pool.acquire() as producer:
            ...     handle = producer.produce_async("orders", b"first")
            >>> pool.flush(timeout=10), handle.done()
            (0, True)
        """
        self._refuse_closed()
        bound = seconds("timeout", timeout)
        return self._members.flush(bound)

    def close(
        self, timeout: float | timedelta | None = None, *, force: bool = False
    ) -> PoolReport:
        """Close all producers for good; idempotent.

        Ends all waits with `PoolClosedError`. Closes free producers at once, side by
        side, leased ones when they come back, and the rest at the deadline. Does not
        wait for leases that the calling thread took. `force=True` gives everything up
        and waits for nothing. Blocks for at most `timeout` seconds (None: the config's
        `close_timeout`) and 0.5 s more. Ctrl-C ends the wait, and the close continues.
        Thread-safe: a later call waits for the close in progress, and gets its report.

        Args:
            timeout: seconds, or a `timedelta`.
            force: give everything up, and wait for nothing.

        Raises:
            InvalidArgumentError: an argument is invalid; nothing was closed.
            TransactionalCloseError: called inside a transaction of the pool.

        Example:
            >>> with pool.acquire() as producer:
            ...     handle = producer.produce_async("orders", b"last")
            >>> report = pool.close(timeout=10)
            >>> report.complete, report.undelivered, report.holders
            (True, [], ())
        """
        return self._begin_close(timeout, force, acting_for())()

    def _begin_close(
        self, timeout: float | timedelta | None, force: bool, closer: object
    ) -> Callable[[], PoolReport]:
        """Begin to close, for this thread or task; what is returned waits for that."""
        check()
        bound = seconds("timeout", timeout)
        flag("force", force)
        self._refuse_inside_transaction()
        if bound is None:
            bound = self._close_timeout
        return begin_close(
            self._leasing,
            self._emitter,
            self._closes,
            bound,
            closer=closer,
            force=force,
        )

    @property
    def _close_timeout(self) -> float:
        return self._members.settings.close_timeout

    def _refuse_inside_transaction(self) -> None:
        if any(each.in_transaction for each in self._members.producers()):
            raise TransactionalCloseError(
                f"pool {self.name!r} cannot be closed inside a transaction of one of "
                "its producers; leave the block first"
            )

    # -- inside ------------------------------------------------------------

    def _refresh(self) -> None:
        """The subscriptions have changed."""
        self._emitter.refresh()
        for producer in self._members.producers():
            producer.refresh()

    @property
    def _in_use(self) -> bool:
        """Whether leases are out, callers wait, or producers are retired."""
        members = self._members
        waiting = self._leasing.line.waiting
        seats = any(slot.seats for slot in members.slots)
        return bool(waiting or seats or members.history.retired)

    def _sweep(self) -> None:
        """Do what signal handlers may have left undone."""
        self._leasing.sweep()

    def _start_afresh(self) -> None:
        """Be as if just made, but for the forking thread's leases: this is a child."""
        self._leasing.start_afresh()
        self._emitter.start_afresh()
        self._members.start_afresh(current_thread())
        self._reloading.start_afresh()
        for close in self._closes.values():
            close.forked()
        self._opening.start_afresh()
        self._stale = not self._members.closed

    def __del__(self) -> None:
        members = getattr(self, "_members", None)
        if members is not None:  # None: the constructor raised
            members.let_go()

    def __enter__(self) -> ProducerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ProducerPool cannot be copied or pickled: it owns clients")
