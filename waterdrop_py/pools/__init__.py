"""Pools of producers: `ProducerPool`, its leases, and groups of pools."""

from __future__ import annotations

from waterdrop_py.pools._group_options import use_default_limit
from waterdrop_py.pools.groups import (
    PoolGroup,
    get_limit,
    producers,
    reset,
    set_limit,
)
from waterdrop_py.pools.lease import Lease
from waterdrop_py.pools.pool import ProducerPool
from waterdrop_py.pools.stats import PoolReport, PoolSlot, PoolStats
from waterdrop_py.typing import LeaseHolder

__all__ = [
    "Lease",
    "LeaseHolder",
    "PoolGroup",
    "PoolReport",
    "PoolSlot",
    "PoolStats",
    "ProducerPool",
    "get_limit",
    "producers",
    "reset",
    "set_limit",
    "use_default_limit",
]
