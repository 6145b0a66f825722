"""`stats()`, `slots()` and `health()`."""

# ruff: noqa: PT012 - the call is made in the patched world

from __future__ import annotations

import dataclasses
import pickle
from typing import TYPE_CHECKING

import pytest

from tests.doubles import Run, eventually
from tests.unit.pools.support import (
    FENCED,
    Cluster,
    balanced,
    config,
    lose,
    send,
    transactional,
)
from waterdrop_py import Status
from waterdrop_py.errors import (
    BrokerUnreachableError,
    LeaseReleasedError,
    PoolClosedError,
    PoolTimeoutError,
    ProduceError,
)
from waterdrop_py.pools.stats import PoolSlot, PoolStats

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool
    from waterdrop_py.testing import FakeClock


def test_of_a_pool_that_was_never_used(make_pool: MakePool) -> None:
    """Everything is available, and nothing was made."""
    stats = make_pool(size=4, client_limit=2, min_connected=1).stats()
    assert isinstance(stats, PoolStats)
    assert (stats.size, stats.client_limit, stats.min_connected) == (4, 2, 1)
    assert stats.available == 8
    rest = dataclasses.asdict(stats)
    for name in ("size", "client_limit", "min_connected", "available"):
        del rest[name]
    assert set(rest.values()) == {0}


def test_they_are_plain_and_fixed(make_pool: MakePool) -> None:
    """Figures can be pickled, and not be changed."""
    pool = make_pool()
    stats = pool.stats()
    assert pickle.loads(pickle.dumps(stats)) == stats
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.size = 1  # type: ignore[misc]
    (first, _) = pool.slots()
    assert isinstance(first, PoolSlot)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.index = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(first)) == first


def test_requests_are_counted_once(make_pool: MakePool, time_: FakeClock) -> None:
    """Granted, timed out, refused or waiting; warm if the client was open."""
    pool = make_pool(size=1)
    send(pool)
    lease = pool.acquire()
    time_.advance(2)
    with pytest.raises(PoolTimeoutError):
        pool.acquire(0.01)
    waiting = Run(lambda: pool.acquire(30).release())
    eventually(lambda: pool.stats().waiting == 1)
    stats = pool.stats()
    assert (stats.requests, stats.granted, stats.warm) == (4, 2, 1)
    assert (stats.timed_out, stats.waiting, stats.queued) == (1, 1, 2)
    assert (stats.leased, stats.available) == (1, 0)
    lease.release()
    waiting.result()
    stats = pool.stats()
    assert (stats.requests, stats.granted, stats.warm) == (4, 3, 2)
    assert (stats.leased, stats.available, stats.waiting) == (0, 1, 0)
    assert stats.usage_ms == 2000
    assert stats.wait_ms > 0
    assert balanced(pool)


def test_an_interrupted_wait_was_refused(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ended it; nobody waits any more, and no lease is lost."""
    pool = make_pool(size=1)
    lease = pool.acquire()

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("waterdrop_py.pools._waiting.Wakeup.wait", interrupt)
        pool.acquire(5)
    stats = pool.stats()
    assert (stats.refused, stats.waiting, stats.timed_out) == (1, 0, 0)
    assert balanced(pool)
    lease.release()
    assert pool.stats().available == 1


def test_sums_over_every_producer(cluster: Cluster, make_pool: MakePool) -> None:
    """Those of retired, replaced and removed producers stay, and count once."""
    pool = make_pool(size=3)
    for count in (1, 2, 3):
        leases = [pool.acquire() for _ in range(3)]
        for lease in leases:
            for _ in range(count):
                lease.producer.produce_sync("t", b"x")
        if count == 1:
            lose(leases[1].producer)
        for lease in leases:
            lease.release()
        if count == 2:
            pool.reload()
        if count == 3:
            pool.resize(1)
    eventually(lambda: pool.stats().draining == 0)
    stats = pool.stats()
    assert (stats.produced, stats.acknowledged) == (18, 18)
    assert (stats.failed, stats.in_flight, stats.buffered) == (0, 0, 0)
    assert stats.opens == len(cluster.clients) == 7
    assert stats.disconnects == 6
    assert (stats.replaced, stats.connected) == (1, 1)
    pool.close()
    assert pool.stats().acknowledged == 18
    assert pool.stats().disconnects == 7


def test_variants_count(make_pool: MakePool) -> None:
    """A variant with a client of its own is part of its producer's figures."""
    pool = make_pool(size=1)
    with pool.acquire() as producer:
        producer.variant(topic_config={"acks": 1}).produce_sync("t", b"x")
    assert pool.stats().acknowledged == 1


class TestSlots:
    """One `PoolSlot` for each slot."""

    def test_before_they_are_used(self, cluster: Cluster, make_pool: MakePool) -> None:
        """They have names, and a status."""
        pool = make_pool(transactional(cluster, "pay"), name="p")
        assert pool.slots() == tuple(
            PoolSlot(i, f"p-{i}", f"pay-{i}", Status.CONFIGURED, 0, (), None)
            for i in range(2)
        )

    def test_in_use(self, make_pool: MakePool) -> None:
        """What the producer does, and who has it."""
        pool = make_pool(client_limit=2)
        with pool.acquire() as producer, pool.acquire():
            producer.produce_sync("t", b"x")
            first, second = pool.slots()
        assert (first.status, first.leases) == (Status.CONNECTED, 2)
        assert len(first.holders) == 2
        assert (second.status, second.leases) == (Status.CONFIGURED, 0)
        assert first.transactional_id is None

    def test_out_of_service(self, cluster: Cluster, make_pool: MakePool) -> None:
        """Its error is there."""
        pool = make_pool(transactional(cluster))
        with pool.transaction() as producer:
            pass
        lose(producer, FENCED)
        with pool.acquire():
            pass
        error = pool.slots()[0].error
        assert isinstance(error, ProduceError)
        assert error.code == "fenced"
        assert pool.slots()[1].error is None


class TestHealth:
    """Shallow, it opens and takes nothing."""

    def test_an_idle_pool_is_healthy(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """It opens nothing, and takes no lease."""
        pool = make_pool(size=1)
        lease = pool.acquire()
        health = pool.health()
        assert (health.healthy, health.deep, health.error) == (True, False, None)
        assert health.status is Status.CONFIGURED
        assert cluster.clients == []
        lease.release()
        send(pool)
        assert pool.health().status is Status.CONNECTED

    def test_a_closed_pool_is_not(self, make_pool: MakePool) -> None:
        """Its error says so."""
        pool = make_pool()
        pool.close()
        for deep in (False, True):
            health = pool.health(deep=deep)
            assert not health.healthy
            assert isinstance(health.error, PoolClosedError)
            assert health.status is Status.CLOSED

    def test_without_a_slot_in_service(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """The fatal error is told; a deep check says the same, and opens nothing."""
        pool = make_pool(transactional(cluster), size=1)
        with pool.transaction() as producer:
            pass
        lose(producer, FENCED)
        pool.acquire(0.01).release() if pool.health().healthy else None
        opened = len(cluster.clients)
        for deep in (False, True):
            health = pool.health(deep=deep)
            assert not health.healthy
            assert isinstance(health.error, ProduceError)
        assert len(cluster.clients) == opened

    def test_deep_opens_slot_0(self, cluster: Cluster, make_pool: MakePool) -> None:
        """Where none is open, also in an exhausted pool; else it asks an open one."""
        pool = make_pool(size=2)
        leases = [pool.acquire() for _ in range(2)]
        health = pool.health(deep=True)
        assert (health.healthy, health.deep) == (True, True)
        assert health.latency_ms is not None
        assert len(cluster.clients) == 1
        assert pool.slots()[0].status is Status.CONNECTED
        for lease in leases:
            lease.release()
        pool.health(deep=True)
        assert len(cluster.clients) == 1
        assert pool.stats().requests == 2

    def test_deep_of_an_unreachable_cluster(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """It raises nothing: the answer has the error."""
        cluster.down = True
        health = make_pool().health(deep=True, timeout=0.2)
        assert not health.healthy
        assert isinstance(health.error, BrokerUnreachableError)


def test_nothing_of_it_shows_a_secret(cluster: Cluster, make_pool: MakePool) -> None:
    """No repr, no figure, no slot, no error."""
    kafka = {"sasl.mechanism": "PLAIN", "sasl.username": "u"}
    kafka |= {"security.protocol": "SASL_PLAINTEXT", "sasl.password": "s3cr3t"}
    pool = make_pool(config(cluster, kafka=kafka), size=1)
    lease = pool.acquire()
    with pytest.raises(PoolTimeoutError) as caught:
        pool.acquire(0.01)
    shown = [pool, lease, pool.stats(), pool.slots(), pool.config, caught.value]
    shown += [pool.monitor, lease.producer]
    lease.release()
    with pytest.raises(LeaseReleasedError) as released:
        lease.__enter__()
    shown.append(released.value)
    assert "s3cr3t" not in "".join(f"{each!r}{each}" for each in shown)
