"""`reload()`: make before break."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Run, eventually
from tests.unit.pools.support import (
    Cluster,
    balanced,
    config,
    named,
    names,
    send,
    transactional,
)
from waterdrop_py import Status
from waterdrop_py.errors import (
    BrokerUnreachableError,
    ConfigurationInvalidError,
    InvalidArgumentError,
    PoolClosedError,
    PoolTimeoutError,
)
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool


def test_another_configuration(cluster: Cluster, make_pool: MakePool) -> None:
    """New leases get new producers with it; `config` is it."""
    pool = make_pool(name="p")
    old = send(pool)
    pool.reload(config(cluster, kafka={"client.id": "new"}, id="other"))
    new = send(pool)
    assert new is not old
    assert new.config.kafka["client.id"] == "new"
    assert pool.config.kafka["client.id"] == "new"  # type: ignore[union-attr]
    assert (pool.name, new.id) == ("p", "p-0")
    eventually(lambda: old.status is Status.CLOSED)


def test_the_same_once_more(make_pool: MakePool) -> None:
    """The connected slots get new clients, which are open before the old ones go."""
    pool = make_pool(size=3)
    leases = [pool.acquire() for _ in range(2)]
    for lease in leases:
        lease.producer.produce_sync("t", b"x")
    with record(pool.monitor) as events:
        pool.reload()
        moments = names(events, "")
        assert "producer.disconnected" not in moments
        assert moments.count("producer.connected") == 2
        (reloaded,) = named(events, "pool.reloaded")
        assert (reloaded["opened"], reloaded["draining"]) == (2, 2)
        for lease in leases:
            lease.producer.produce_sync("t", b"old")
        fresh = send(pool)
        assert fresh not in [lease.producer for lease in leases]
        for lease in leases:
            lease.release()
        eventually(lambda: names(events, "").count("producer.disconnected") == 2)
    assert pool.stats().connected == 3


def test_an_idle_pool_proves_slot_0(cluster: Cluster, make_pool: MakePool) -> None:
    """At least one is opened."""
    pool = make_pool(size=3)
    pool.reload()
    assert len(cluster.clients) == pool.stats().connected == 1
    assert pool.slots()[0].status is Status.CONNECTED


@pytest.mark.parametrize("kind", ["plain", "transactional"])
def test_a_failure_changes_nothing(
    kind: str, cluster: Cluster, make_pool: MakePool
) -> None:
    """It is raised, and the old producers go on."""
    make = config if kind == "plain" else transactional
    pool = make_pool(make(cluster), size=2)
    lease = pool.acquire()
    before = pool.config
    if kind == "plain":
        lease.producer.produce_sync("t", b"x")
    opened, cluster.down = len(cluster.open), True
    with record(pool.monitor) as events, pytest.raises(BrokerUnreachableError):
        pool.reload(make(cluster, kafka={"client.id": "x"}), timeout=0.2)
    assert named(events, "pool.reloaded") == []
    assert pool.config is before
    assert pool.stats().draining == 0
    eventually(lambda: len(cluster.open) == opened)
    cluster.down = False
    producer = lease.producer
    lease.release()
    with pool.acquire() as again:
        assert again is producer


def test_an_invalid_configuration(cluster: Cluster, make_pool: MakePool) -> None:
    """Every violation is in the error, nothing is opened, and nothing has changed."""
    pool = make_pool(client_limit=2)
    with pytest.raises(ConfigurationInvalidError) as caught:
        pool.reload(config(cluster, close_timeout=-1))
    assert list(caught.value.errors) == ["close_timeout"]
    with pytest.raises(ConfigurationInvalidError, match="client_limit"):
        pool.reload(transactional(cluster))
    with pytest.raises(InvalidArgumentError, match="timeout"):
        pool.reload(timeout=-1)
    assert cluster.clients == []
    send(pool)


def test_a_callable_is_called_again(cluster: Cluster, make_pool: MakePool) -> None:
    """Once for each index; what it raises comes out, and nothing has changed."""
    asked: list[int] = []
    fails: list[int] = []

    def source(index: int) -> Any:
        asked.append(index)
        if fails:
            raise LookupError
        return config(cluster, kafka={"client.id": f"c-{len(asked)}"})

    pool = make_pool(source, size=2)
    pool.reload()
    assert asked == [0, 1] * 2
    assert send(pool).config.kafka["client.id"] == "c-3"
    fails.append(1)
    with pytest.raises(LookupError):
        pool.reload()
    assert send(pool).config.kafka["client.id"] == "c-3"


def test_what_is_retired_is_drained(cluster: Cluster, make_pool: MakePool) -> None:
    """Nothing is purged: the old client stays until its messages are delivered."""
    pool = make_pool(size=1)
    send(pool)
    cluster.silent = True
    with pool.acquire() as old:
        handle = old.produce_async("t", b"x")
    pool.reload()
    time.sleep(0.05)
    assert not handle.done()
    stats = pool.stats()
    assert (stats.draining, stats.in_flight) == (1, 1)
    cluster.silent = False
    assert handle.result(5).error is None
    eventually(lambda: pool.stats().draining == 0)
    assert pool.stats().failed == 0
    assert pool.stats().acknowledged == 2


class TestTransactional:
    """One client without the id proves; in each slot old closes before new opens."""

    def test_no_transaction_is_aborted(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """One that runs is committed by the old client, and the next is of the new."""
        pool = make_pool(transactional(cluster, "a"), size=1)
        with record(pool.monitor) as events:
            with pool.transaction() as old:
                old.produce_async("t", b"x")
                Run(lambda: pool.reload(transactional(cluster, "b"))).result()
                old.produce_async("t", b"y")
            with pool.transaction(5) as new:
                new.produce_async("t", b"z")
        assert old.config.kafka["transactional.id"] == "a-0"
        assert new.config.kafka["transactional.id"] == "b-0"
        moments = names(events, "transaction.")
        assert moments.count("transaction.committed") == 2
        assert "transaction.aborted" not in moments
        proof = cluster.clients[1]
        assert proof.transactional_id is None
        assert cluster.together == []

    def test_the_old_client_closes_first(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """The same id is never open twice, and a caller waits for the close."""
        pool = make_pool(transactional(cluster), size=1)
        with pool.transaction():
            pass
        with cluster.park("close") as park:
            reloading = Run(pool.reload)
            park.entered()  # the proof, or the old client
            waiting = Run(lambda: pool.acquire(30).release())
            time.sleep(0.02)
            park.go()
            reloading.result()
            waiting.result()
        with pool.transaction():
            pass
        assert cluster.together == []

    def test_a_free_pool_is_free_afterwards(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """Also for a call that does not wait, once the old clients are closed."""
        pool = make_pool(transactional(cluster), size=2)
        with pool.transaction():
            pass
        pool.reload()
        eventually(lambda: pool.stats().available == 2)
        with pool.transaction(0):
            pass


def test_two_at_once(cluster: Cluster, make_pool: MakePool) -> None:
    """The second waits for the first, within its timeout; else nothing has changed."""
    pool = make_pool(size=1)
    with cluster.park("list_topics") as park, record(pool.monitor) as events:
        first = Run(lambda: pool.reload(config(cluster, kafka={"client.id": "1"})))
        park.entered()
        with pytest.raises(PoolTimeoutError, match="reload"):
            pool.reload(timeout=0.05)
        second = Run(lambda: pool.reload(config(cluster, kafka={"client.id": "2"})))
        time.sleep(0.02)
        assert not named(events, "pool.reloaded")
        park.go()
        first.result()
        second.result()
        assert names(events, "pool.reload") == ["pool.reload", "pool.reloaded"] * 2
    assert pool.config.kafka["client.id"] == "2"  # type: ignore[union-attr]
    assert send(pool).config.kafka["client.id"] == "2"
    assert balanced(pool)


def test_a_resize_meanwhile(cluster: Cluster, make_pool: MakePool) -> None:
    """Both count: the size is the new one, and so is the configuration."""
    pool = make_pool(size=1)
    with cluster.park("list_topics") as park:
        reloading = Run(lambda: pool.reload(config(cluster, kafka={"client.id": "n"})))
        park.entered()
        pool.resize(3)
        park.go()
        reloading.result()
    assert pool.size == 3
    leases = [pool.acquire() for _ in range(3)]
    assert {each.producer.config.kafka["client.id"] for each in leases} == {"n"}
    for lease in leases:
        lease.release()


def test_a_close_meanwhile(cluster: Cluster, make_pool: MakePool) -> None:
    """The reload says that the pool is closed, and leaves nothing open."""
    pool = make_pool(size=1)
    with cluster.park("list_topics") as park:
        reloading = Run(pool.reload)
        park.entered()
        pool.close()
        park.go()
        with pytest.raises(PoolClosedError):
            reloading.result()
    eventually(lambda: cluster.open == [])


def test_a_closed_pool_is_not_reloaded(make_pool: MakePool) -> None:
    """It says so."""
    pool = make_pool()
    pool.close()
    with pytest.raises(PoolClosedError):
        pool.reload()


def test_inside_a_lease(make_pool: MakePool) -> None:
    """It does not wait for the caller's own leases, nor for any other."""
    pool = make_pool(size=1)
    with pool.acquire() as old:
        old.produce_sync("t", b"x")
        pool.reload(timeout=5)
        old.produce_sync("t", b"y")
    assert send(pool) is not old
