"""Another thread at a moment of a pool's calls, and a pool that is whole again."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tests import moments
from tests.doubles import Run, eventually
from tests.moments import interrupt
from waterdrop_py.errors import PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py import ProducerPool

__all__ = ["Moments", "aside", "each_moment", "interrupt", "whole_again"]

Moments = partial(moments.Moments, "pools")
each_moment = partial(moments.each_moment, "pools")


def aside(call: Callable[[], object]) -> Callable[[], object]:
    """The same on another thread, to its end."""
    return lambda: Run(call).result()


def whole_again(pool: ProducerPool, leases: int) -> None:
    """All leases of the pool can be taken and given back, and each request was counted
    once."""
    stats = pool.stats()
    assert stats.requests == (
        stats.granted + stats.timed_out + stats.refused + stats.waiting
    )
    if pool.closed:
        with suppress(PoolClosedError):
            pool.acquire(0)
            raise AssertionError("a closed pool gave a lease")
        return
    taken = [pool.acquire(5) for _ in range(leases)]
    assert pool.stats().leased == leases
    for lease in taken:
        lease.release()
    stats = pool.stats()
    assert (stats.leased, stats.waiting, stats.available) == (0, 0, leases)
    eventually(lambda: pool.stats().draining == 0, "what was retired is closed")
