"""What a lease is: its members, its end, and its loss."""

# ruff: noqa: PT031 - what is dropped is collected inside of the block

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from typing import TYPE_CHECKING

import pytest

from tests.doubles import Run, eventually
from tests.unit.pools.support import HERE, Cluster, balanced, named, transactional
from waterdrop_py import Lease, Producer, ProducerPool
from waterdrop_py.errors import LeaseReleasedError, TransactionalCloseError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool
    from waterdrop_py.testing import FakeClock


def test_a_block_gives_the_producer(make_pool: MakePool) -> None:
    """The `Producer` itself; the lease ends with the block, whatever is raised."""
    pool = make_pool()
    with pool.acquire() as producer:
        assert isinstance(producer, Producer)
        assert pool.stats().leased == 1
    assert pool.stats().leased == 0
    with pytest.raises(LookupError), pool.acquire() as again:
        raise LookupError
    assert again is producer
    assert pool.stats().leased == 0
    assert balanced(pool)


def test_the_call_takes_the_lease(make_pool: MakePool) -> None:
    """And not the `with`."""
    pool = make_pool()
    lease = pool.acquire()
    assert pool.stats().leased == 1
    with lease as producer:
        assert producer is lease.producer
    assert lease.released


def test_members(make_pool: MakePool, time_: FakeClock) -> None:
    """`slot`, `producer`, `held_ms` and `released`, before and after the end."""
    pool = make_pool(name="p")
    first, second = pool.acquire(), pool.acquire()
    assert isinstance(first, Lease)
    assert (first.slot, second.slot) == (0, 1)
    assert (first.producer.id, second.producer.id) == ("p-0", "p-1")
    assert (first.held_ms, first.released) == (0, False)
    time_.advance(1.5)
    assert first.held_ms == 1500
    first.release()
    time_.advance(1)
    assert (first.held_ms, first.released, first.slot) == (1500, True, 0)
    assert second.held_ms == 2500
    assert pool.stats().usage_ms == 1500
    second.release()
    assert pool.stats().usage_ms == 4000


def test_a_released_lease_gives_no_producer(make_pool: MakePool) -> None:
    """Neither as an attribute nor as a block, which says what to do."""
    lease = make_pool(name="p").acquire()
    lease.release()
    with pytest.raises(LeaseReleasedError, match=r"'p'.*acquire"):
        _ = lease.producer
    with pytest.raises(LeaseReleasedError), lease:
        pass


def test_a_second_release_does_nothing(make_pool: MakePool) -> None:
    """Also when another lease has the slot by then."""
    pool = make_pool(size=1)
    with record(pool.monitor) as events:
        lease = pool.acquire()
        lease.release()
        lease.release()
        other = pool.acquire()
        lease.release()
        with pytest.raises(LeaseReleasedError), lease:
            pass
        assert not other.released
        assert other.producer
        other.release()
    assert len(named(events, "pool.released")) == 2
    assert pool.stats().granted == 2


def test_any_thread_may_release(make_pool: MakePool) -> None:
    """The lease is the caller's to hand on."""
    pool = make_pool(size=1)
    lease = pool.acquire()
    Run(lease.release).result()
    assert lease.released
    pool.acquire(block=False).release()


def test_two_releases_at_once(make_pool: MakePool) -> None:
    """One of them ends the lease."""
    pool = make_pool(size=1)
    with record(pool.monitor) as events:
        for _ in range(50):
            lease, barrier = pool.acquire(), threading.Barrier(2)

            def release(lease: Lease = lease, all_: object = barrier) -> None:
                all_.wait(5)  # type: ignore[attr-defined]
                lease.release()

            first, second = Run(release), Run(release)
            first.result()
            second.result()
    assert len(named(events, "pool.released")) == 50
    assert pool.stats().available == 1


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_neither_copied_nor_pickled(way: object, make_pool: MakePool) -> None:
    """A lease is one use, and a pool owns clients."""
    pool = make_pool()
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        way(pool)  # type: ignore[operator]
    lease = pool.acquire()
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        way(lease)  # type: ignore[operator]
    lease.release()


def test_a_lost_lease_goes_back(make_pool: MakePool) -> None:
    """With a warning and an event that say who took it, and where."""
    pool = make_pool(size=1)
    with record(pool.monitor) as events:

        def take() -> int:
            lease = pool.acquire()
            return lease.slot

        with pytest.warns(ResourceWarning, match="worker-7") as warned:
            thread = threading.Thread(target=take, name="worker-7")
            thread.start()
            thread.join()
            gc.collect()
    line = take.__code__.co_firstlineno + 1
    assert f"{HERE.replace('support', 'test_leases')}:{line}" in str(warned[0].message)
    (leaked,) = named(events, "pool.leaked")
    assert leaked["pool"] == pool.name
    assert leaked["slot"] == 0
    assert leaked["producer_id"] == f"{pool.name}-0"
    assert leaked["owner"] == "worker-7"
    assert leaked["where"].endswith(f"test_leases.py:{line}")
    stats = pool.stats()
    assert (stats.leaked, stats.leased, stats.available) == (1, 0, 1)
    pool.acquire(block=False).release()


def test_a_lost_lease_serves_who_waits(make_pool: MakePool) -> None:
    """At once, and not at the end of its wait."""
    pool = make_pool(size=1, timeout=5)
    kept = [pool.acquire()]
    waiter = Run(lambda: pool.acquire().release())
    eventually(lambda: pool.stats().waiting == 1)
    with pytest.warns(ResourceWarning):
        kept.clear()
        gc.collect()
    waiter.result()


def test_a_lost_lease_of_a_cycle(make_pool: MakePool) -> None:
    """It is collected with what refers to it."""
    pool = make_pool(size=1)

    class Holder:
        def __init__(self) -> None:
            self.me, self.lease = self, pool.acquire()

    with pytest.warns(ResourceWarning):
        Holder()
        gc.collect()
    assert pool.stats().leaked == 1


def test_a_lease_keeps_its_pool_alive(cluster: Cluster) -> None:
    """A pool that was dropped works on for its leases, and no longer."""
    pool = ProducerPool({"kafka": {"bootstrap.servers": "x:1"}, "deliver": False})
    watched = weakref.ref(pool)
    lease = pool.acquire()
    del pool
    gc.collect()
    assert watched() is not None
    assert lease.producer is not None
    lease.release()
    del lease
    gc.collect()
    assert watched() is None


def test_owner_and_line_of_a_holder(make_pool: MakePool) -> None:
    """Of the code that called, and not of the library; always."""
    pool = make_pool()
    with pool.acquire():
        (holder,) = pool.slots()[0].holders
    assert holder.owner == threading.current_thread().name
    assert holder.where.endswith(
        ":" + str(line_of("    with pool.acquire():\n        ("))
    )
    assert holder.slot == 0
    assert holder.held_ms >= 0


def line_of(text: str) -> int:
    """The line of this file where the text begins."""
    with open(__file__, encoding="utf-8") as file:
        whole = file.read()
    return whole[: whole.index(text)].count("\n") + 1


class TestTransactional:
    """Leases and transactions."""

    def test_a_lease_is_not_released_inside_a_transaction(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """It says so, and goes on; afterwards it can be."""
        pool = make_pool(transactional(cluster))
        lease = pool.acquire()
        with lease.producer.transaction():
            with pytest.raises(TransactionalCloseError, match="leave the block"):
                lease.release()
            assert not lease.released
            lease.producer.produce_async("t", b"x")
        lease.release()
        assert lease.released
        assert pool.stats().available == 2

    def test_inside_a_transaction_of_another_producer(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """That is no obstacle."""
        pool = make_pool(transactional(cluster))
        lease = pool.acquire()
        with pool.transaction() as producer:
            assert producer is not lease.producer
            lease.release()
        assert lease.released


def test_repr_never_blocks_and_says_what_it_is(make_pool: MakePool) -> None:
    """Of a pool and of a lease."""
    pool = make_pool(name="orders")
    lease = pool.acquire()
    assert "'orders'" in repr(pool)
    assert "size=2" in repr(pool)
    assert "leased=1" in repr(pool)
    assert "'orders'" in repr(lease)
    assert "slot=0" in repr(lease)
    lease.release()
    assert "released" in repr(lease)
    pool.close()
    assert "closed" in repr(pool)


def test_a_producer_works_on_beyond_its_lease(make_pool: MakePool) -> None:
    """It is thread-safe."""
    pool = make_pool(size=1)
    with pool.acquire() as producer:
        pass
    producer.produce_sync("t", b"x")
    with pool.acquire() as other:
        producer.produce_sync("t", b"y")
        assert other is producer


def test_release_leaves_what_is_on_its_way(
    cluster: Cluster, make_pool: MakePool
) -> None:
    """It sends nothing, flushes nothing, and does not wait."""
    cluster.silent = True
    pool = make_pool(size=1)
    lease = pool.acquire()
    handle = lease.producer.produce_async("t", b"in flight")
    lease.producer.buffer("t", b"buffered")
    lease.release()
    assert not handle.done()
    stats = pool.stats()
    assert (stats.in_flight, stats.buffered, stats.produced) == (1, 1, 1)
    cluster.silent = False
    assert pool.flush(5) == 0
    assert handle.done()
    assert pool.stats().acknowledged == 2
