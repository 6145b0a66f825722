"""What a user sees of a pool, a lease and a group."""

from __future__ import annotations

from waterdrop_py import Lease, ProducerPool
from waterdrop_py.pools import PoolGroup
from waterdrop_py.pools._group_pool import GroupPool

POOL = {
    *("acquire", "transaction", "connect", "resize", "reload", "flush", "close"),
    *("health", "stats", "slots", "name", "size", "client_limit", "min_connected"),
    *("strategy", "timeout", "max_waiting", "config", "monitor", "closed"),
}
LEASE = {"producer", "slot", "held_ms", "released", "release"}
GROUP = {"values", "limit", "client_limit", "reset"}


def test_no_name_but_those_of_the_page() -> None:
    """The library's own calls of them do not show."""
    for kind, names in (
        (ProducerPool, POOL),
        (GroupPool, POOL),
        (Lease, LEASE),
        (PoolGroup, GROUP),
    ):
        shown = {name for name in dir(kind) if not name.startswith("_")}
        assert shown == names, kind
