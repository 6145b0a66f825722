"""Slots that stay open: `min_connected` and `connect()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doubles import eventually
from tests.unit.pools.support import Cluster, config, named, transactional
from waterdrop_py import Status
from waterdrop_py.errors import BrokerUnreachableError, InvalidArgumentError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import ProducerPool
    from waterdrop_py.testing import FakeClock


def connected(pool: ProducerPool) -> list[int]:
    """The indices of the open slots."""
    return [each.index for each in pool.slots() if each.status is Status.CONNECTED]


def test_they_are_opened_at_the_first_lease(
    cluster: Cluster, make_pool: MakePool
) -> None:
    """In the background, and not before."""
    pool = make_pool(size=4, min_connected=3)
    assert cluster.clients == []
    with cluster.park("list_topics") as park:
        pool.acquire().release()  # does not wait
        park.go()
    eventually(lambda: connected(pool) == [0, 1, 2])


def test_they_are_never_idle(
    cluster: Cluster, make_pool: MakePool, time_: FakeClock
) -> None:
    """The others are closed."""
    source = config(cluster, idle_disconnect_timeout=60_000)
    pool = make_pool(source, size=3, min_connected=2)
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        lease.producer.produce_sync("t", b"x")
        lease.release()
    eventually(lambda: connected(pool) == [0, 1, 2])
    time_.advance(10_000)
    eventually(lambda: connected(pool) == [0, 1])
    time_.advance(100_000)
    assert connected(pool) == [0, 1]
    assert pool.stats().opens == 3


def test_all_of_them(make_pool: MakePool, time_: FakeClock) -> None:
    """`min_connected=size` keeps the whole pool open."""
    pool = make_pool(size=3, min_connected=3)
    pool.connect()
    time_.advance(1_000_000)
    assert connected(pool) == [0, 1, 2]


def test_opened_again_after_their_age(
    cluster: Cluster, make_pool: MakePool, time_: FakeClock
) -> None:
    """In the background, without a lease."""
    source = config(cluster, max_connection_age=100_000)
    pool = make_pool(source, size=2, min_connected=1)
    pool.connect()
    time_.advance(101)
    eventually(lambda: pool.stats().opens == 2)
    eventually(lambda: connected(pool) == [0])


def test_opened_again_after_a_reload(cluster: Cluster, make_pool: MakePool) -> None:
    """All of them, also those that were not connected."""
    pool = make_pool(transactional(cluster), size=3, min_connected=2)
    pool.connect()
    pool.reload()
    eventually(lambda: pool.stats().draining == 0)
    eventually(lambda: connected(pool) == [0, 1])
    assert pool.stats().requests == 0


def test_opened_again_after_a_fatal_error(make_pool: MakePool) -> None:
    """A slot that stays open does so with its new producer."""
    from tests.unit.pools.support import lose

    pool = make_pool(size=2, min_connected=1)
    pool.connect()
    with pool.acquire() as producer:
        lose(producer)
    eventually(lambda: connected(pool) == [0])
    assert pool.stats().requests == 1


def test_a_failure_is_tried_again(cluster: Cluster, make_pool: MakePool) -> None:
    """At the next `acquire()`, and by `connect()`."""
    cluster.down = True
    pool = make_pool(size=2, min_connected=2)
    with record(pool.monitor) as events:
        for tries in (1, 2, 3):
            pool.acquire().release()
            eventually(
                lambda tries=tries: len(named(events, "error.occurred")) == 2 * tries  # type: ignore[misc]
            )
        cluster.down = False
        pool.acquire().release()
        eventually(lambda: connected(pool) == [0, 1])
        assert len(named(events, "error.occurred")) == 6


class TestConnect:
    """Opens and proves, now."""

    @pytest.mark.parametrize(
        ("least", "expected"), [(0, [0]), (1, [0]), (3, [0, 1, 2])]
    )
    def test_how_many(
        self, least: int, expected: list[int], make_pool: MakePool
    ) -> None:
        """Slots 0 to max(1, `min_connected`) - 1; it returns the pool."""
        pool = make_pool(size=4, min_connected=least)
        assert pool.connect() is pool
        assert connected(pool) == expected
        assert pool.stats().requests == 0

    def test_on_an_exhausted_pool(self, make_pool: MakePool) -> None:
        """It takes no lease."""
        pool = make_pool(size=1)
        with pool.acquire():
            pool.connect(1)
            assert connected(pool) == [0]

    def test_a_failure(self, cluster: Cluster, make_pool: MakePool) -> None:
        """It is raised once all have ended."""
        cluster.down = True
        with pytest.raises(BrokerUnreachableError):
            make_pool(size=2, min_connected=2).connect(0.2)

    def test_after_a_reload(self, cluster: Cluster, make_pool: MakePool) -> None:
        """With ids, it waits until the old client is closed, and proves the new one."""
        pool = make_pool(transactional(cluster), size=1)
        with pool.transaction():
            pass
        for _ in range(5):
            pool.reload()
            pool.connect(5)
            assert connected(pool) == [0]

    def test_invalid_arguments(self, cluster: Cluster, make_pool: MakePool) -> None:
        """They are named, and nothing is opened."""
        pool = make_pool()
        with pytest.raises(InvalidArgumentError, match="timeout"):
            pool.connect(-1)
        with pytest.raises(InvalidArgumentError, match="max_retries"):
            pool.connect(max_retries=-1)
        assert cluster.clients == []
