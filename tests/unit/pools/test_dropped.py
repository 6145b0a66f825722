"""A pool that is dropped is collected, and its clients with it."""

from __future__ import annotations

import gc
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import eventually
from tests.unit.pools.support import Cluster, config, send
from waterdrop_py import ProducerPool

if TYPE_CHECKING:
    from collections.abc import Callable

USES: dict[str, Callable[[ProducerPool], Any]] = {
    "never used": lambda _: None,
    "used": send,
    "reloaded": lambda pool: pool.reload() if send(pool) else None,
    "resized": lambda pool: pool.resize(1),
    "subscribed to": lambda pool: pool.monitor.subscribe("*", lambda _: None),
    "connected": lambda pool: pool.connect(),
    "closed": lambda pool: (send(pool), pool.close()),
    "asked": lambda pool: (pool.stats(), pool.slots(), pool.health(), repr(pool)),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("least", [0, 2])
def test_it_is_collected(
    use: Callable[[ProducerPool], Any], least: int, cluster: Cluster
) -> None:
    """Whatever was done with it; and every client is closed."""
    pool = ProducerPool(config(cluster), size=2, min_connected=least)
    use(pool)
    watched = weakref.ref(pool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del pool

        def gone() -> bool:
            gc.collect()
            return watched() is None and cluster.open == []

        eventually(gone)
