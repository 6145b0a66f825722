"""`with pool.transaction():`, a lease and a transaction of its producer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py.errors import PoolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from waterdrop_py.pools.lease import Lease
    from waterdrop_py.producer import Producer


class PoolTransaction:
    """The block of `ProducerPool.transaction`; each `with` needs its own.

    The transaction ends first, and the lease second, whatever a signal handler raises.
    """

    __slots__ = ("_acquire", "_block", "_lease")

    def __init__(self, acquire: Callable[[], Lease]) -> None:
        self._acquire = acquire
        self._lease: Lease | None = None
        self._block: AbstractContextManager[None, bool] | None = None

    def __enter__(self) -> Producer:
        if self._lease is not None:
            raise PoolError(
                "this block was entered before; each `with` needs a transaction() of "
                "its own"
            )
        try:
            self._lease = self._acquire()
            producer = self._lease.producer
            self._block = producer.transaction()
            self._block.__enter__()
        except BaseException as raised:
            self.__exit__(type(raised), raised, raised.__traceback__)
            raise
        return producer

    @no_signal_at_entry
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        try:
            block = self._block
            try:
                return block is not None and block.__exit__(kind, error, trace)
            except BaseException as raised:
                # A signal handler may have raised before that did anything. It does
                # nothing the second time if it did.
                if block is not None:
                    block.__exit__(type(raised), raised, raised.__traceback__)
                raise
        finally:
            # No call before the release, and so no signal handler
            # (test_a_handler_that_raises_as_a_kept_block_ends).
            lease, self._lease = self._lease, None
            self._block = None
            if lease is not None:
                lease.release()
