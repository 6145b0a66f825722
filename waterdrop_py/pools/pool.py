"""`ProducerPool`: up to `size` producers, each leased to one caller at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from threading import current_thread
from typing import Any, NoReturn

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.concurrency.weak_calls import call_if_alive
from waterdrop_py._settings.arguments import required_seconds, seconds
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import (
    InvalidArgumentError,
    ProducerNotTransactionalError,
    TransactionalCloseError,
)
from waterdrop_py.monitor import Monitor
from waterdrop_py.pools import _process as process
from waterdrop_py.pools._closing import PoolClose
from waterdrop_py.pools._emitter import PoolEmitter
from waterdrop_py.pools._exhaustion import closed_error
from waterdrop_py.pools._figures import PoolFigures
from waterdrop_py.pools._leasing import Leasing
from waterdrop_py.pools._members import Members
from waterdrop_py.pools._opening import Opening
from waterdrop_py.pools._reloading import Reloading
from waterdrop_py.pools._room import Room
from waterdrop_py.pools._settings import PoolConfig, PoolSettings
from waterdrop_py.pools._side_by_side import acting_for
from waterdrop_py.pools._slot import caller_outside
from waterdrop_py.pools._transaction import PoolTransaction
from waterdrop_py.pools.lease import Lease
from waterdrop_py.pools.stats import PoolReport
from waterdrop_py.producer import Producer

_ONLY = 0


class ProducerPool(PoolFigures):
    """Up to `size` producers, which callers lease: for what must not share one.

    `with pool.transaction() as producer:` for transactions that run at the same time,
    `with pool.acquire() as producer:` for everything else. A service that only sends
    takes one `Producer`, which threads share.

    `config` is what `Producer` takes: a `Config`, a mapping, or a URL. Or a callable
    that returns one for each index, 0 to `size` - 1. With a `transactional.id` in
    `config`, that of slot i is `<transactional.id>-<i>`.

    The constructor opens no socket and starts no thread. A slot's producer is made when
    it is first needed. From `min_connected` on, a slot is closed after the config's
    `idle_disconnect_timeout`, or 3 minutes. Thread-safe. A context manager that closes
    the pool. It can be neither copied nor pickled.

    Args:
        config: what each producer is made with.
        size: producers at the most, 1 to 1000.
        client_limit: leases of one producer at a time; 1 with a `transactional.id`.
        min_connected: slots that are opened in the background and stay open, 0 to
            `size`.
        strategy: which free slot is leased. "pack": an open one before a closed one,
            then the lowest index, so that the rest fall idle. "spread": the fewest
            leases, then the least recently used.
        timeout: seconds that `acquire()` waits.
        max_waiting: callers that may wait; None: no limit.
        name: the pool's name in events, logs and ids; by default the config's `id`, or
            `pool-` and 12 hex digits.

    Raises:
        ConfigurationInvalidError: with every violation at once.
        What a callable `config` raises.
    """

    __slots__ = ("_closes", "_emitter", "_opening", "_reloading", "_stale")

    def __init__(self, config: PoolConfig, **options: Any) -> None:
        settings = PoolSettings.of(config, options)
        tags = settings.base.tags if settings.base is not None else {}
        # An open client keeps the monitor, which must not keep the pool.
        me = weakref.ref(self)
        monitor = Monitor(partial(call_if_alive, me, ProducerPool.refresh))
        self._emitter = PoolEmitter(self, settings.name, tags, monitor)
        members = Members(settings, monitor, self._emitter)
        super().__init__(Leasing(members, self._emitter))
        self._opening = Opening(self._members, self._emitter)
        self._reloading = Reloading(self._members, self._opening, self._emitter)
        self._closes: dict[int, PoolClose] = {}
        self._stale = False
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

    # -- leases ------------------------------------------------------------

    def acquire(
        self, timeout: float | timedelta | None = None, *, block: bool = True
    ) -> Lease:
        """Lease a producer: `with pool.acquire() as producer:`.

        The call takes the lease, and not the `with`. Waits at most `timeout` seconds
        (None: the pool's `timeout`) until one is free; 0 or `block=False`: not at all.
        Leases are granted in the order of the calls. Opens nothing. Callable from
        callbacks, finalizers and signal handlers.

        Raises:
            PoolTimeoutError: none was free in time.
            PoolExhaustedError: none is free, and the call does not wait; or no slot is
                in service.
            TooManyRequestsError: `max_waiting` others wait.
            PoolClosedError: the pool is closed, or was closed meanwhile.
            InvalidArgumentError: an argument is invalid.
        """
        check()
        if timeout is None and block is True:
            bound = self._members.settings.timeout
        else:
            bound = self._bound(timeout, block)
        if self._members.closed or self._stale or self._opening.lacking:
            self._prepare()
        taken_by = caller_outside()
        return Lease(self, self._leasing, bound, current_thread(), taken_by)

    def transaction(
        self, timeout: float | timedelta | None = None, *, block: bool = True
    ) -> AbstractContextManager[Producer, bool]:
        """`with pool.transaction() as producer:` is a lease and a transaction of it.

        The transaction ends first, as with `producer.transaction()`, and then the
        lease. Entering the block waits as `acquire` does. Each `with` needs its own.

        Raises:
            ProducerNotTransactionalError: there is no `transactional.id`.
            What `acquire` and `Producer.transaction` raise.
        """
        if not self._members.is_transactional:
            raise ProducerNotTransactionalError(
                "transactions need a transactional.id in the kafka settings of pool "
                f"{self.name!r}"
            )
        if timeout is not None or block is not True:
            self._bound(timeout, block)
        taken_by = caller_outside()
        return PoolTransaction(partial(self._acquire_for, taken_by, timeout, block))

    def _acquire_for(
        self, taken_by: Any, timeout: float | timedelta | None, block: bool
    ) -> Lease:
        self._refuse_closed()
        self._prepare()
        bound = self._bound(timeout, block)
        return Lease(self, self._leasing, bound, current_thread(), taken_by)

    def _bound(self, timeout: float | timedelta | None, block: bool) -> float:
        """Seconds to wait for a lease; 0: do not wait."""
        bound = seconds("timeout", timeout)
        given: Any = block
        if not isinstance(given, bool):
            raise InvalidArgumentError(f"block: must be a bool, got {shown(block)}")
        if not block:
            return 0.0
        return self._members.settings.timeout if bound is None else bound

    # -- changes -----------------------------------------------------------

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

        Side by side, with the arguments and errors of `Producer.connect`; the first
        error is raised once all have ended. Takes no lease, so it works on an exhausted
        pool. Returns the pool.
        With more than one slot, `errback` runs on library threads.

        Raises:
            PoolClosedError: the pool is closed.
            BrokerUnreachableError, ProduceError, InvalidArgumentError: as
                `Producer.connect`.
        """
        self._refuse_closed()
        bound = required_seconds("timeout", timeout)
        self._prepare()
        self._opening.connect(
            bound,
            errback=errback,
            max_retries=max_retries,
            interval_start=interval_start,
            interval_step=interval_step,
            interval_max=interval_max,
        )
        return self

    def resize(self, size: int, *, min_connected: int | None = None) -> None:
        """Have `size` producers at the most from now on. Never blocks.

        A larger pool serves the callers that wait at once. A smaller one loses slots
        from the highest index down: free ones now, leased ones when they come back.
        `min_connected` None: as before, or `size` if that is less. No lease is taken
        away. A callable `config` is asked for each new index.

        Raises:
            InvalidArgumentError: an argument is invalid; nothing has changed.
            ConfigurationInvalidError: of what a callable returned.
            PoolClosedError: the pool is closed.
        """
        self._refuse_closed()
        self._prepare()
        self._reloading.resize(size, min_connected)

    def reload(
        self, config: PoolConfig | None = None, *, timeout: float | timedelta = 30.0
    ) -> None:
        """Use another configuration, or the same once more: make before break.

        First opens new producers for the slots that are connected, at least for one,
        and proves them within `timeout` seconds. If that fails, it raises, and nothing
        has changed. Then new leases get the new producers. Each old one is drained, and
        closed in the background once its last lease has ended. With a
        `transactional.id`, one client without the id proves the configuration, and in
        each slot the old client closes before the new one opens, between leases. Slots
        that were out of service are in service again. Of two calls at once, the second
        waits.

        Raises:
            BrokerUnreachableError, ProduceError: the proof failed.
            ConfigurationInvalidError: with every violation.
            PoolTimeoutError: another reload did not end in time.
            PoolClosedError: the pool is closed.
        """
        self._refuse_closed()
        bound = required_seconds("timeout", timeout)
        self._stale = False
        self._reloading.run(config, bound)

    def flush(self, timeout: float | timedelta | None = None) -> int:
        """`Producer.flush` of all producers, side by side; how many messages are left.

        Blocks for at most `timeout` seconds (None: without a bound). Opens no client
        where there is nothing to send. Raises what `Producer.flush` raises, once all
        have ended.
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

        Raises:
            InvalidArgumentError: `timeout` is not a duration.
            TransactionalCloseError: called inside a transaction of the pool.
        """
        check()
        bound = seconds("timeout", timeout)
        self._refuse_inside_transaction()
        if bound is None:
            bound = self._close_timeout
        deadline = clock.system_now() + bound
        made = PoolClose(self._leasing, self._emitter, deadline, acting_for())
        close = self._closes.setdefault(_ONLY, made)
        self._members.closed = True
        self._leasing.on_return = close.returned
        close.shorten(deadline, force=force)
        return close.wait(clock.system_now() if force else deadline)

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

    def refresh(self) -> None:
        """The subscriptions have changed."""
        self._emitter.refresh()
        for producer in self._members.producers():
            producer.refresh()

    def start_afresh(self) -> None:
        """Be as if just made, but for the forking thread's leases: this is a child."""
        self._leasing.start_afresh()
        self._members.start_afresh(current_thread())
        self._reloading.start_afresh()
        for close in self._closes.values():
            close.forked()
        self._opening.note_all()
        self._stale = not self._members.closed

    def _prepare(self) -> None:
        """What an unusual moment asks for before a lease is taken."""
        self._refuse_closed()
        if self._stale:
            self._stale = False
            self._reloading.begin_in_child()
        self._opening.begin()

    def _refuse_closed(self) -> None:
        check()
        if self._members.closed:
            raise closed_error(self.name)

    def __enter__(self) -> ProducerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ProducerPool cannot be copied or pickled: it owns clients")
