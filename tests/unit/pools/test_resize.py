"""`resize()`, both ways, with and without leases that are out."""

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
    send,
    transactional,
)
from waterdrop_py import Status
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    InvalidArgumentError,
    PoolClosedError,
    PoolExhaustedError,
)
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool


def test_it_grows_at_once(make_pool: MakePool) -> None:
    """Waiters are served, in their order."""
    pool = make_pool(size=1)
    lease = pool.acquire()
    served: list[int] = []

    def take(number: int) -> None:
        with pool.acquire(30) as producer:
            served.append(number)
            assert producer.id.endswith(f"-{number + 1}")
            eventually(lambda: len(served) == 2)

    waiting = []
    for number in range(2):
        waiting.append(Run(lambda number=number: take(number)))  # type: ignore[misc]
        eventually(lambda number=number: pool.stats().waiting == number + 1)  # type: ignore[misc]
    pool.resize(3)
    for each in waiting:
        each.result()
    assert sorted(served) == [0, 1]
    lease.release()
    assert (pool.size, len(pool), pool.stats().available) == (3, 3, 3)
    assert len(pool.slots()) == 3


def test_it_shrinks_from_the_highest_index(make_pool: MakePool) -> None:
    """Free slots now: their producers are closed in the background."""
    pool = make_pool(size=3)
    leases = [pool.acquire() for _ in range(3)]
    producers = [lease.producer for lease in leases]
    for lease in leases:
        lease.producer.produce_sync("t", b"x")
        lease.release()
    pool.resize(1)
    assert (pool.size, pool.stats().available) == (1, 1)
    eventually(lambda: [p.status for p in producers[1:]] == [Status.CLOSED] * 2)
    assert producers[0].is_connected
    assert send(pool) is producers[0]
    eventually(lambda: pool.stats().draining == 0)
    assert pool.stats().acknowledged == 4


def test_a_lease_beyond_the_size_counts(make_pool: MakePool) -> None:
    """Also where slot 0 is open and free, as nothing is to be made or opened then."""
    pool = make_pool(size=2)
    first, last = pool.acquire(), pool.acquire()
    for lease in (first, last):
        lease.producer.produce_sync("t", b"x")
    pool.resize(1)
    first.release()
    with pytest.raises(PoolExhaustedError):
        pool.acquire(0)
    last.release()
    pool.acquire(0).release()


@pytest.mark.timed
def test_no_lease_is_taken_away(make_pool: MakePool) -> None:
    """Leased slots go when their leases end. Until then no lease is granted that would
    have more than `size` producers on lease, although slot 0 is free."""
    pool = make_pool(size=3)
    leases = [pool.acquire() for _ in range(3)]
    began = time.monotonic()
    pool.resize(1)
    assert time.monotonic() - began < 1
    leases[0].release()
    assert pool.stats().available == 0
    with pytest.raises(PoolExhaustedError):
        pool.acquire(0)
    for lease in leases[1:]:
        lease.producer.produce_sync("t", b"x")
    leases[1].release()
    with pytest.raises(PoolExhaustedError):
        pool.acquire(0)
    waiting = Run(lambda: pool.acquire(30).release())
    eventually(lambda: pool.stats().waiting == 1)
    gone = leases[2].producer
    leases[2].release()
    waiting.result()
    eventually(lambda: gone.status is Status.CLOSED)
    assert pool.stats().available == 1
    assert balanced(pool)


def test_shared_producers_shrink_too(make_pool: MakePool) -> None:
    """A producer on lease within the size may have more leases."""
    pool = make_pool(size=2, client_limit=2)
    leases = [pool.acquire() for _ in range(4)]
    pool.resize(1)
    leases[0].release()
    again = pool.acquire(0)
    assert again.slot == 0
    leases[1].release()
    again.release()
    with pytest.raises(PoolExhaustedError):
        pool.acquire(0)
    leases[2].release()
    leases[3].release()
    assert pool.stats().available == 2


def test_back_and_forth(cluster: Cluster, make_pool: MakePool) -> None:
    """A slot that comes back has its id again, never two clients with it; a lease that
    outlives both goes on."""
    pool = make_pool(transactional(cluster, "pay"), size=2)
    first, second = pool.acquire(), pool.acquire()
    for lease in (first, second):
        with lease.producer.transaction():
            pass
    pool.resize(1)
    pool.resize(2)
    second.release()
    first.release()
    leases = [pool.acquire(5) for _ in range(2)]
    for lease in leases:
        with lease.producer.transaction():
            pass
    ids = {lease.producer.config.kafka["transactional.id"] for lease in leases}
    assert ids == {"pay-0", "pay-1"}
    for lease in leases:
        lease.release()
    assert cluster.together == []


def test_open_clients_stay(cluster: Cluster, make_pool: MakePool) -> None:
    """Those of slots that stay are not replaced, whatever else depends on the size."""
    source = config(cluster, max_connection_age=400_000)
    pool = make_pool(source, size=4)
    leases = [pool.acquire() for _ in range(4)]
    for lease in leases:
        lease.producer.produce_sync("t", b"x")
        lease.release()
    pool.resize(8)
    pool.resize(4)
    assert pool.stats().connected == len(cluster.clients) == 4
    assert pool.stats().draining == 0


def test_min_connected(make_pool: MakePool) -> None:
    """A smaller size brings it down; it is set with the size, and opened at once."""
    pool = make_pool(size=3, min_connected=2)
    pool.acquire().release()
    pool.resize(1)
    assert pool.min_connected == 1
    pool.resize(3)
    assert pool.min_connected == 1
    pool.resize(3, min_connected=3)
    assert (pool.min_connected, pool.stats().min_connected) == (3, 3)
    eventually(lambda: pool.stats().connected == 3)
    pool.resize(3, min_connected=0)
    with pool.acquire() as producer:
        assert producer.config.idle_disconnect_timeout == 180_000


@pytest.mark.parametrize(
    ("size", "others", "named_"),
    [
        (0, {}, "size"),
        (1001, {}, "size"),
        (True, {}, "size"),
        ("3", {}, "size"),
        (None, {}, "size"),
        (2, {"min_connected": 3}, "min_connected"),
        (2, {"min_connected": -1}, "min_connected"),
        (2, {"min_connected": True}, "min_connected"),
    ],
)
def test_invalid_arguments(
    size: Any, others: dict[str, Any], named_: str, make_pool: MakePool
) -> None:
    """They are named, and nothing has changed."""
    pool = make_pool(size=2, min_connected=1)
    with (
        record(pool.monitor) as events,
        pytest.raises(InvalidArgumentError, match=named_),
    ):
        pool.resize(size, **others)
    assert (pool.size, pool.min_connected) == (2, 1)
    assert named(events, "pool.resized") == []


def test_a_callable_is_asked_for_new_indices(
    cluster: Cluster, make_pool: MakePool
) -> None:
    """Once for each, ever: an id belongs to its index for good."""
    asked: list[int] = []

    def source(index: int) -> Any:
        asked.append(index)
        return transactional(cluster, f"own-{len(asked)}")

    pool = make_pool(source, size=2)
    pool.resize(4)
    pool.resize(1)
    pool.resize(4)
    assert asked == [0, 1, 2, 3]
    ids = [each.transactional_id for each in pool.slots()]
    assert ids == ["own-1", "own-2", "own-3", "own-4"]


def test_a_callable_that_fails(cluster: Cluster, make_pool: MakePool) -> None:
    """What it raises or returns wrongly comes out, and nothing has changed."""
    given: dict[int, Any] = {0: transactional(cluster, "a"), 2: config(cluster)}
    pool = make_pool(lambda index: given[index], size=1)
    with pytest.raises(KeyError):
        pool.resize(2)
    given[1] = transactional(cluster, "a")
    with pytest.raises(ConfigurationInvalidError) as caught:
        pool.resize(2)
    assert list(caught.value.errors) == ["config[1].kafka.transactional.id"]
    given[1] = transactional(cluster, "b")
    with pytest.raises(ConfigurationInvalidError) as caught:
        pool.resize(3)
    assert list(caught.value.errors) == ["config[2].kafka.transactional.id"]
    assert pool.size == 1
    with pool.transaction():
        pass


def test_a_closed_pool_is_not_resized(make_pool: MakePool) -> None:
    """It says so."""
    pool = make_pool()
    pool.close()
    with pytest.raises(PoolClosedError):
        pool.resize(3)
