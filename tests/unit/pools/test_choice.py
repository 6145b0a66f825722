"""Which slot a lease gets: strategies, shared producers, and idleness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doubles import eventually
from tests.unit.pools.support import Cluster, config, send
from waterdrop_py.errors import PoolExhaustedError

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import Lease, ProducerPool
    from waterdrop_py.testing import FakeClock


def take(pool: ProducerPool, count: int) -> list[Lease]:
    """So many leases."""
    return [pool.acquire(block=False) for _ in range(count)]


def give_back(leases: list[Lease]) -> None:
    """All of them."""
    for lease in leases:
        lease.release()


class TestPack:
    """An open producer before a closed one, then the lowest index."""

    def test_the_lowest_index(self, make_pool: MakePool) -> None:
        """One after the other uses slot 0 alone."""
        pool = make_pool(size=3)
        for _ in range(5):
            with pool.acquire():
                assert [each.leases for each in pool.slots()] == [1, 0, 0]
            send(pool)
        assert pool.stats().opens == 1

    def test_an_open_one_first(self, make_pool: MakePool) -> None:
        """Even if a lower index is free, whose producer is closed."""
        pool = make_pool(size=3)
        first, second = take(pool, 2)
        second.producer.produce_sync("t", b"x")
        give_back([first, second])
        lease = pool.acquire()
        assert lease.slot == 1
        lease.release()

    def test_the_tail_falls_asleep(
        self, cluster: Cluster, make_pool: MakePool, time_: FakeClock
    ) -> None:
        """After a burst slot 0 works on, and the others are closed when they are due;
        what was leased and silent too. In the end the pool holds nothing."""
        pool = make_pool(config(cluster, idle_disconnect_timeout=60_000), size=4)
        leases = take(pool, 4)
        for lease in leases:
            lease.producer.produce_sync("t", b"x")
        give_back(leases[:3])
        assert pool.stats().connected == 4
        for _ in range(3):
            time_.advance(25)
            send(pool)
        eventually(lambda: pool.stats().connected == 1)
        assert leases[3].producer.is_connected is False
        assert pool.slots()[0].leases == 0
        leases[3].release()
        time_.advance(61)
        eventually(lambda: (cluster.open, pool.stats().disconnects) == ([], 4))
        assert (pool.stats().opens, pool.stats().connected) == (4, 0)
        assert pool.health().healthy

    def test_three_minutes_by_default(
        self, make_pool: MakePool, time_: FakeClock
    ) -> None:
        """Where the config says nothing."""
        pool = make_pool(size=2)
        send(pool)
        time_.advance(179)
        eventually(lambda: pool.stats().connected == 1)
        time_.advance(2)
        eventually(lambda: pool.stats().connected == 0)


class TestSpread:
    """The fewest leases, then the least recently used."""

    def test_in_turns(self, make_pool: MakePool, time_: FakeClock) -> None:
        """Every slot is used as often as any other."""
        pool = make_pool(size=3, strategy="spread")
        slots = []
        for _ in range(6):
            time_.advance(1)
            lease = pool.acquire()
            slots.append(lease.slot)
            lease.release()
        assert slots == [0, 1, 2, 0, 1, 2]

    def test_the_fewest_leases(self, make_pool: MakePool, time_: FakeClock) -> None:
        """Before the least recently used."""
        pool = make_pool(size=2, client_limit=3, strategy="spread")
        leases = []
        for _ in range(6):
            time_.advance(1)
            leases.append(pool.acquire())
        assert [lease.slot for lease in leases] == [0, 1, 0, 1, 0, 1]
        leases[1].release()
        leases[3].release()
        time_.advance(1)
        again = take(pool, 2)
        assert [lease.slot for lease in again] == [1, 1]
        give_back([*leases, *again])


class TestClientLimit:
    """Leases that share a producer."""

    def test_up_to_the_limit(self, make_pool: MakePool) -> None:
        """And not one more; which slot has room depends on the strategy."""
        pool = make_pool(size=2, client_limit=3)
        leases = take(pool, 6)
        assert [lease.slot for lease in leases] == [0, 0, 0, 1, 1, 1]
        assert leases[0].producer is leases[2].producer
        with pytest.raises(PoolExhaustedError):
            pool.acquire(0)
        stats = pool.stats()
        assert (stats.leased, stats.available, stats.client_limit) == (6, 0, 3)
        assert [each.leases for each in pool.slots()] == [3, 3]
        leases[1].release()
        assert pool.stats().available == 1
        lease = pool.acquire(0)
        assert lease.slot == 0
        give_back([*leases, lease])
        assert pool.stats().available == 6

    def test_many(self, make_pool: MakePool) -> None:
        """A limit of 100 is 100 leases of one producer."""
        pool = make_pool(size=1, client_limit=100)
        leases = take(pool, 100)
        assert len({lease.producer for lease in leases}) == 1
        with pytest.raises(PoolExhaustedError):
            pool.acquire(0)
        for lease in leases[::2]:
            lease.release()
        more = take(pool, 50)
        give_back([*leases, *more])
        assert pool.stats().available == 100


def test_a_slots_producer_is_made_when_it_is_needed(make_pool: MakePool) -> None:
    """And is the same from then on."""
    pool = make_pool(size=3)
    made: list[str] = []
    pool.monitor.subscribe("producer.created", lambda e: made.append(e["producer_id"]))
    assert made == []
    lease = pool.acquire()
    assert made == [f"{pool.name}-0"]
    with pool.acquire():
        assert len(made) == 2
    lease.release()
    send(pool)
    assert len(made) == 2
