"""The fixtures of the unit tests of pools."""

from tests.unit.pools.conftest import cluster, make_pool, time_

__all__ = ["cluster", "make_pool", "time_"]
