"""`with pool.transaction():`, a lease and a transaction of its producer."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
                "this block is entered already; each `with` takes a transaction() of "
                "its own"
            )
        try:
            self._lease = self._acquire()
            producer = self._lease.producer
            self._block = producer.transaction()
            self._block.__enter__()
        except BaseException:
            self._release()
            raise
        return producer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        block, self._block = self._block, None
        try:
            return block is not None and block.__exit__(kind, error, trace)
        finally:
            self._release()

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        self._block = None
        if lease is not None:
            lease.release()
