"""How a pool is asked for a lease: `acquire` and `transaction`."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from threading import current_thread
from types import CodeType
from typing import Any

from waterdrop_py._engine.concurrency.unhooked_forks import HOME, WIPED, check
from waterdrop_py._settings.arguments import flag, seconds
from waterdrop_py.errors import ProducerNotTransactionalError
from waterdrop_py.pools._exhaustion import closed_error
from waterdrop_py.pools._fast_path import grant
from waterdrop_py.pools._health import PoolHealth
from waterdrop_py.pools._opening import Opening
from waterdrop_py.pools._owners import current_owner, running_loop
from waterdrop_py.pools._reloading import Reloading
from waterdrop_py.pools._transaction import PoolTransaction
from waterdrop_py.pools.lease import Lease
from waterdrop_py.producer import Producer


class PoolTaking(PoolHealth):
    """A base class of `ProducerPool`."""

    __slots__ = ("_opening", "_reloading", "_stale")

    def __init__(self, leasing: Any, opening: Any, reloading: Any) -> None:
        super().__init__(leasing)
        self._opening: Opening = opening
        self._reloading: Reloading = reloading
        self._stale = False  # this is a forked child, before its first use

    def acquire(
        self, timeout: float | timedelta | None = None, *, block: bool = True
    ) -> Lease:
        """Lease a producer: `with pool.acquire() as producer:`.

        The call takes the lease, and not the `with`. Waits at most `timeout` seconds
        (None: the pool's `timeout`) until one is free; 0 or `block=False`: not at all.
        Leases are granted in the order of the calls. Opens nothing. Callable from
        callbacks, finalizers and signal handlers.

        Args:
            timeout: seconds, or a `timedelta`.
            block: False does not wait.

        Raises:
            PoolTimeoutError: none was free in time.
            PoolExhaustedError: none is free, and the call does not wait; or no slot is
                in service.
            TooManyRequestsError: `max_waiting` others wait.
            PoolClosedError: the pool is closed, or was closed meanwhile.
            InvalidArgumentError: an argument is invalid.

        Example:
            >>> with pool.acquire(timeout=2.0) as producer:
            ...     handle = producer.produce_async("orders", b"first")
        """
        if not HOME[0] or not WIPED:
            check()
        if timeout is None and block is True:
            bound = self._members.settings.timeout
        else:
            bound = self._bound(timeout, block)
        if self._members.closed or self._stale or self._opening.lacking:
            self._prepare()
            self._opening.start()
        frame = sys._getframe()  # noqa: SLF001 - documented, of CPython
        frame = frame.f_back or frame  # None: a thread or greenlet calls only this
        owner = current_thread() if running_loop() is None else current_owner()
        return grant(self, self._leasing, bound, owner, frame.f_code, frame.f_lasti)

    def transaction(
        self, timeout: float | timedelta | None = None, *, block: bool = True
    ) -> AbstractContextManager[Producer, bool]:
        """`with pool.transaction() as producer:`: a lease, and a transaction in it.

        The block ends the transaction first, as `producer.transaction()` does, and then
        the lease. The call takes nothing; entering the block waits as `acquire` does.
        Each `with` needs a call of its own. Thread-safe.

        Args:
            timeout: seconds that entering the block waits, or a `timedelta`.
            block: False does not wait.

        Raises:
            ProducerNotTransactionalError: there is no `transactional.id`.
            PoolClosedError: the pool is closed.
            WaterdropError: what `acquire` and `Producer.transaction` raise.

        Example:
            >>> kafka = {"bootstrap.servers": "localhost:9092", "transactional.id": "t"}
            >>> with ProducerPool({"kafka": kafka}, size=2) as pool:
            ...     with pool.transaction() as producer:
            ...         handle = producer.produce_async("payments", b"first")
        """
        self._check_transactional(timeout, block)
        frame = sys._getframe()  # noqa: SLF001 - documented, of CPython
        frame = frame.f_back or frame
        taken_by = frame.f_code, frame.f_lasti
        return PoolTransaction(partial(self._acquire_for, taken_by, timeout, block))

    def _check_transactional(
        self, timeout: float | timedelta | None, block: bool
    ) -> None:
        """Check a call of `transaction`."""
        self._refuse_closed()
        if not self._members.is_transactional:
            raise ProducerNotTransactionalError(
                "transactions need a transactional.id in the kafka settings of pool "
                f"{self.name!r}"
            )
        if timeout is not None or block is not True:
            self._bound(timeout, block)

    def _acquire_for(
        self,
        taken_by: tuple[CodeType, int],
        timeout: float | timedelta | None,
        block: bool,
    ) -> Lease:
        self._refuse_closed()
        self._prepare()
        self._opening.start()
        bound = self._bound(timeout, block)
        return grant(self, self._leasing, bound, current_owner(), *taken_by)

    def _bound(self, timeout: float | timedelta | None, block: bool) -> float:
        """Seconds to wait for a lease; 0: do not wait."""
        bound = seconds("timeout", timeout)
        if not flag("block", block):
            return 0.0
        return self._members.settings.timeout if bound is None else bound

    def _prepare(self) -> None:
        """What an unusual moment asks for before a lease is taken."""
        self._refuse_closed()
        if self._stale:
            # Last, for a callable that raises, and for threads that come meanwhile:
            # they must not use what the parent uses.
            self._reloading.begin_in_child()
            self._stale = False

    def _refuse_closed(self) -> None:
        check()
        if self._members.closed:
            raise closed_error(self.name)
