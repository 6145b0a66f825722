"""`GroupPool`: a pool of a group; which of them are open, and how all are closed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.side_by_side import side_by_side
from waterdrop_py.config import Config
from waterdrop_py.pools._closing import GRACE, report_of
from waterdrop_py.pools.pool import ProducerPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterdrop_py.pools.stats import PoolReport


class GroupPool(ProducerPool):
    """A pool of a group; what the group asks of it beyond the public surface.

    Attributes:
        _fitted: the limit of the group that it was given last.
    """

    __slots__ = ("_fitted", "_untold")

    def __init__(self, config: Config, *, size: int, **options: Any) -> None:
        self._untold: list[None] = [None]
        self._fitted = size
        super().__init__(config, size=size, **options)

    def _announce(self) -> None:
        """Say nothing yet: of two that are made at once, only one is ever used."""

    def _announce_once(self) -> None:
        """Emit `pool.created`, unless that was done."""
        try:
            self._untold.pop()
        except IndexError:
            return
        super()._announce()


Pools: TypeAlias = Mapping[Config, GroupPool]
"""The pools of a group."""


def close_all(
    pools: Sequence[GroupPool], timeout: float | None, *, force: bool
) -> PoolReport:
    """Close `pools` side by side, within `timeout` seconds in all; the sum of reports.

    Raises `TransactionalCloseError` inside a transaction of one, and closes none then.
    """
    began = clock.system_now()
    for pool in pools:
        pool._refuse_inside_transaction()
    bounds = [pool._close_timeout if timeout is None else timeout for pool in pools]

    def close(pool: GroupPool, bound: float) -> PoolReport:
        left = max(0.0, began + bound - clock.system_now())
        return pool.close(left, force=force)

    # On another thread, it would not be seen that these must not wait.
    here = [pool for pool in pools if pool._members.would_wait_here()]
    reports = [close(pool, 0.0) for pool in here]
    calls = [
        partial(close, pool, bound)
        for pool, bound in zip(pools, bounds, strict=True)
        if pool not in here
    ]
    until = began + max(bounds, default=0.0) + GRACE
    # All at once: each may wait for its leases for as long as it has.
    made = side_by_side(calls, until, at_once=max(1, len(calls)))
    reports += [each.result() for each in made if each.done]
    holders = [holder for report in reports for holder in report.holders]
    return report_of(
        reports,
        sorted(holders, key=lambda holder: holder.held_ms, reverse=True),
        complete=len(reports) == len(pools),
    )


def open_pools(pools: Pools) -> Pools:
    """Those that are not closed; `pools` itself if none is."""
    closed = [config for config, pool in pools.items() if pool.closed]
    if not closed:
        return pools
    kept = dict(pools)  # in C, which neither hashes nor compares the others
    for config in closed:
        del kept[config]
    return kept
