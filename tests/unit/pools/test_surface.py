"""What a user sees of a pool, a lease and a group."""

from __future__ import annotations

import inspect

import pytest

from waterdrop_py import AsyncProducerPool, Lease, ProducerPool
from waterdrop_py.aio.lease import AsyncLease
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
        (AsyncProducerPool, POOL | {"sync_pool"}),
        (Lease, LEASE),
        (AsyncLease, LEASE),
        (PoolGroup, GROUP),
    ):
        shown = {name for name in dir(kind) if not name.startswith("_")}
        assert shown == names, kind


@pytest.mark.parametrize("name", sorted(POOL))
def test_the_pool_for_tasks_mirrors_it(name: str) -> None:
    """Each verb has the same parameters. Those that wait are coroutine functions, and
    what is a property stays one."""
    sync = inspect.getattr_static(ProducerPool, name)
    own = inspect.getattr_static(AsyncProducerPool, name)
    assert isinstance(own, property) == isinstance(sync, property)
    assert inspect.getdoc(own)
    if not isinstance(own, property):
        mirrored = inspect.signature(getattr(ProducerPool, name))
        assert inspect.signature(own).parameters == mirrored.parameters
        awaited = name in {"connect", "reload", "flush", "close"}
        assert inspect.iscoroutinefunction(own) == awaited


def test_its_constructor_has_the_same_options() -> None:
    """By name, with the same defaults."""
    options = inspect.signature(AsyncProducerPool).parameters
    mirrored = inspect.signature(ProducerPool).parameters
    assert list(options) == list(mirrored)
    assert AsyncProducerPool.__init__.__kwdefaults__ == (
        ProducerPool.__init__.__kwdefaults__
    )


@pytest.mark.parametrize("name", ["getconn", "get", "checkout"])
def test_foreign_names_are_answered(name: str) -> None:
    """With what a task writes."""
    with pytest.raises(AttributeError, match="use `async with pool"):
        getattr(AsyncProducerPool, name)
