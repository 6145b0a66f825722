"""Producers whose clients have met a fatal error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doubles import Run, eventually
from tests.unit.pools.support import (
    FENCED,
    SEQUENCE,
    Cluster,
    balanced,
    config,
    lose,
    named,
    send,
    transactional,
)
from waterdrop_py import Status
from waterdrop_py.errors import BrokerUnreachableError, PoolExhaustedError, ProduceError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import Producer, ProducerPool


def fence(pool: ProducerPool, count: int) -> list[Producer]:
    """Another process takes over the ids of so many slots."""
    leases = [pool.acquire() for _ in range(count)]
    for lease in leases:
        with lease.producer.transaction():
            pass
        lose(lease.producer, FENCED)
    producers = [lease.producer for lease in leases]
    for lease in leases:
        lease.release()
    return producers


@pytest.mark.parametrize(
    "error", [LookupError(), ProduceError("x", code="x"), KeyboardInterrupt()]
)
def test_an_exception_breaks_nothing(error: BaseException, make_pool: MakePool) -> None:
    """The producer goes back as it is, with its client."""
    pool = make_pool(size=1)
    before = send(pool)
    with pytest.raises(type(error)), pool.acquire():
        raise error
    assert send(pool) is before
    assert (pool.stats().opens, pool.stats().replaced) == (1, 0)


def test_a_lost_producer_is_replaced(cluster: Cluster, make_pool: MakePool) -> None:
    """The slot goes on with another one of the same ids; the old one is closed."""
    source = transactional(cluster, "pay", reload_on_transaction_fatal_error=False)
    pool = make_pool(source, size=1, name="p")
    with record(pool.monitor) as events:
        with pool.acquire() as producer:
            with producer.transaction():
                pass
            lose(producer, SEQUENCE)
        with pool.transaction() as other:
            other.produce_async("t", b"x")
    assert other is not producer
    assert (other.id, producer.id) == ("p-0", "p-0")
    assert other.config.kafka["transactional.id"] == "pay-0"
    assert producer.status is Status.CLOSED
    (replaced,) = named(events, "pool.replaced")
    assert (replaced["slot"], replaced["producer_id"]) == (0, "p-0")
    assert isinstance(replaced["error"], ProduceError)
    assert replaced["error"].fatal
    assert pool.stats().replaced == 1
    assert cluster.together == []


def test_it_is_closed_when_its_last_lease_ends(make_pool: MakePool) -> None:
    """Whoever shares it keeps it until then, and no new lease gets it."""
    pool = make_pool(size=1, client_limit=3)
    first, second = pool.acquire(), pool.acquire()
    producer = first.producer
    producer.produce_sync("t", b"x")
    lose(producer)
    third = pool.acquire()
    assert third.producer is not producer
    assert first.producer is second.producer is producer
    assert producer.is_connected
    first.release()
    assert producer.is_connected
    assert pool.stats().draining == 1
    second.release()
    eventually(lambda: producer.status is Status.CLOSED)
    eventually(lambda: pool.stats().draining == 0)
    third.release()
    assert pool.stats().replaced == 1


def test_one_that_is_lost_between_leases(make_pool: MakePool) -> None:
    """The next lease finds out."""
    pool = make_pool(size=1)
    producer = send(pool)
    lose(producer)
    assert send(pool) is not producer


def test_one_that_the_user_closed(make_pool: MakePool) -> None:
    """The slot goes on with another; nothing was broken."""
    pool = make_pool(size=1)
    with pool.acquire() as producer:
        producer.produce_sync("t", b"x")
        producer.close()
    assert send(pool) is not producer
    assert pool.stats().replaced == 0
    eventually(lambda: pool.stats().draining == 0)
    assert pool.stats().acknowledged == 2


def test_one_that_mends_itself(cluster: Cluster, make_pool: MakePool) -> None:
    """Its own policy reloads the client: the pool leaves it alone."""
    source = config(
        cluster,
        kafka={"enable.idempotence": True},
        reload_on_idempotent_fatal_error=True,
        wait_backoff_on_idempotent_fatal_error=0,
    )
    pool = make_pool(source, size=1)
    with pool.acquire() as producer:
        producer.produce_sync("t", b"x")
        lose(producer)
    assert send(pool) is producer
    assert pool.stats().replaced == 0


class TestFenced:
    """Another process uses the ids."""

    def test_the_slot_leaves_the_service(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """Its client is closed, nothing opens it again, and the others go on."""
        pool = make_pool(transactional(cluster), size=2)
        (producer,) = fence(pool, 1)
        eventually(lambda: producer.status is Status.CLOSED)
        for _ in range(3):
            with pool.transaction() as other:
                pass
            assert other.config.kafka["transactional.id"] == "tx-1"
        opened = [each.transactional_id for each in cluster.clients]
        assert opened == ["tx-0", "tx-1"]
        stats = pool.stats()
        assert (stats.available, stats.replaced) == (1, 0)
        assert pool.health().healthy

    def test_with_none_in_service(self, cluster: Cluster, make_pool: MakePool) -> None:
        """`acquire()` says so at once, names the ids, and is not to be retried."""
        pool = make_pool(transactional(cluster, "pay"), size=2, timeout=30)
        fence(pool, 2)
        for block in (True, False):
            with pytest.raises(PoolExhaustedError) as caught:
                pool.acquire(block=block)
            error = caught.value
            assert type(error) is PoolExhaustedError
            assert not error.retriable
            assert "'pay-0'" in str(error)
            assert "'pay-1'" in str(error)
            assert "another process" in str(error)
            assert "reload" in str(error)
            assert isinstance(error.__cause__, ProduceError)
        with pytest.raises(PoolExhaustedError), pool.transaction():
            pass
        stats = pool.stats()
        assert (stats.refused, stats.available) == (3, 0)
        assert balanced(pool)

    def test_who_waits_is_told_at_once(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """The last slot leaves the service while a caller waits for it."""
        pool = make_pool(transactional(cluster), size=1)
        lease = pool.acquire()
        with lease.producer.transaction():
            pass
        waiting = Run(lambda: pool.acquire(30))
        eventually(lambda: pool.stats().waiting == 1)
        lose(lease.producer, FENCED)
        lease.release()
        with pytest.raises(PoolExhaustedError) as caught:
            waiting.result()
        assert not caught.value.retriable
        assert balanced(pool)

    def test_reload_heals(self, cluster: Cluster, make_pool: MakePool) -> None:
        """With the same ids, or others."""
        pool = make_pool(transactional(cluster, "a"), size=2)
        fence(pool, 2)
        pool.reload()
        assert [each.error for each in pool.slots()] == [None, None]
        with pool.transaction() as producer:
            assert producer.config.kafka["transactional.id"] in {"a-0", "a-1"}
        fence(pool, 2)
        pool.reload(transactional(cluster, "b"))
        with pool.transaction() as producer:
            assert producer.config.kafka["transactional.id"] in {"b-0", "b-1"}
        eventually(lambda: pool.stats().available == 2)

    def test_a_reload_that_fails_heals_nothing(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """The slot stays out of service."""
        pool = make_pool(transactional(cluster), size=1)
        fence(pool, 1)
        cluster.down = True
        with pytest.raises(BrokerUnreachableError):
            pool.reload(timeout=0.2)
        cluster.down = False
        with pytest.raises(PoolExhaustedError):
            pool.acquire(0)

    def test_connect_says_so(self, cluster: Cluster, make_pool: MakePool) -> None:
        """There is no slot that it could prove."""
        pool = make_pool(transactional(cluster), size=1)
        fence(pool, 1)
        with pytest.raises(PoolExhaustedError) as caught:
            pool.connect(1)
        assert not caught.value.retriable

    def test_a_resize_adds_slots_that_work(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """They have ids that nobody has taken."""
        pool = make_pool(transactional(cluster), size=1)
        fence(pool, 1)
        pool.resize(2)
        with pool.transaction() as producer:
            assert producer.config.kafka["transactional.id"] == "tx-1"
