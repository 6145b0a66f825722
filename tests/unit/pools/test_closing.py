"""`close()`: who is waited for, what it reports, and what it ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Run, eventually
from tests.unit.pools.support import Cluster, balanced, config, names, send
from waterdrop_py import ProducerPool, Status, pools
from waterdrop_py._engine.concurrency import clock
from waterdrop_py.errors import (
    InvalidArgumentError,
    LeaseReleasedError,
    PoolClosedError,
    ProducerClosedError,
)
from waterdrop_py.pools import PoolGroup, PoolReport
from waterdrop_py.pools._closing import PoolClose
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.pools.conftest import MakePool
    from waterdrop_py.monitor import Event


def test_a_block_closes(cluster: Cluster) -> None:
    """As a producer's does; what is on its way is delivered."""
    with ProducerPool(config(cluster), size=2) as pool, pool.acquire() as producer:
        handle = producer.produce_async("t", b"x")
    assert handle.done()
    assert pool.closed
    assert producer.status is Status.CLOSED
    assert cluster.open == []


def test_what_it_reports(cluster: Cluster, make_pool: MakePool) -> None:
    """The messages of all producers, the draining ones included."""
    pool = make_pool(size=3)
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        lease.producer.connect()
    cluster.silent = True
    for lease in leases:
        lease.producer.produce_async("t", b"x")
        lease.producer.buffer("t", b"y")
        lease.release()
    pool.resize(1)
    assert pool.stats().draining == 2

    def answer(event: Event) -> None:
        cluster.silent = not event["producer_id"].endswith("-0")

    pool.monitor.subscribe("producer.closing", answer)
    report = pool.close(5)
    assert isinstance(report, PoolReport)
    assert (report.delivered, report.failed) == (6, 0)
    assert (list(report.undelivered), report.holders) == ([], ())
    assert report.complete
    stats = pool.stats()
    assert (stats.acknowledged, stats.connected, stats.available) == (6, 0, 0)


def test_what_cannot_be_delivered(cluster: Cluster, make_pool: MakePool) -> None:
    """Is given up at the deadline, and reported with each message."""
    pool = make_pool(size=2)
    leases = [pool.acquire() for _ in range(2)]
    for lease in leases:
        lease.producer.connect()
    cluster.silent = True
    for lease in leases:
        lease.producer.produce_async("t", b"x")
        lease.release()
    began = time.monotonic()
    report = pool.close(0.1)
    assert 0.1 <= time.monotonic() - began < 3
    assert len(report.undelivered) == 2
    assert pool.stats().failed == 2


VERBS: dict[str, Callable[[ProducerPool], object]] = {
    "acquire": lambda pool: pool.acquire(),
    "acquire, no wait": lambda pool: pool.acquire(0),
    "connect": lambda pool: pool.connect(),
    "resize": lambda pool: pool.resize(2),
    "reload": lambda pool: pool.reload(),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_afterwards(
    verb: Callable[[ProducerPool], object], make_pool: MakePool
) -> None:
    """Every verb says that the pool is closed; a release does not."""
    pool = make_pool(size=2, name="orders")
    lease = pool.acquire()
    pool.close(0)
    with pytest.raises(PoolClosedError, match="'orders'"):
        verb(pool)
    lease.release()
    lease.release()
    with pytest.raises(LeaseReleasedError):
        _ = lease.producer
    assert pool.stats().leased == 0
    assert pool.closed


@pytest.mark.parametrize("timeout", [-1, "5", True, float("nan")])
def test_an_invalid_timeout(timeout: Any, make_pool: MakePool) -> None:
    """It is named, and nothing is closed."""
    pool = make_pool()
    with pytest.raises(InvalidArgumentError, match="timeout"):
        pool.close(timeout)
    assert not pool.closed


@pytest.mark.parametrize("flag", [1, "no", None])
def test_a_flag_that_is_not_a_bool(
    flag: Any, cluster: Cluster, make_pool: MakePool
) -> None:
    """It is named, and nothing is closed: "no" would be true."""
    pool = make_pool()
    with pytest.raises(InvalidArgumentError, match="force: must be a bool"):
        pool.close(force=flag)
    group = PoolGroup()
    group[config(cluster)]
    for reset in (group.reset, pools.reset):
        with pytest.raises(InvalidArgumentError, match="force: must be a bool"):
            reset(force=flag)
    with pytest.raises(InvalidArgumentError, match="deep: must be a bool"):
        pool.health(deep=flag)
    assert not pool.closed
    assert len(group) == 1


def test_waits_end(make_pool: MakePool) -> None:
    """With `PoolClosedError`, at once; they were refused."""
    pool = make_pool(size=1)
    lease = pool.acquire()
    waiting = [Run(lambda: pool.acquire(30)) for _ in range(3)]
    eventually(lambda: pool.stats().waiting == 3)
    pool.close(0.05)
    for each in waiting:
        with pytest.raises(PoolClosedError):
            each.result()
    stats = pool.stats()
    assert (stats.refused, stats.waiting) == (3, 0)
    assert balanced(pool)
    lease.release()


def test_leases_of_others_are_waited_for(cluster: Cluster, make_pool: MakePool) -> None:
    """They go on, and free producers are closed meanwhile."""
    pool = make_pool(size=2)
    kept = Run(pool.acquire).result()
    kept.producer.produce_sync("t", b"x")
    free = send(pool)
    closing = Run(lambda: pool.close(30))
    eventually(lambda: free.status is Status.CLOSED)
    kept.producer.produce_sync("t", b"y")
    assert not closing.daemon or closing.is_alive()
    kept.release()
    report = closing.result()
    assert report.complete
    assert report.holders == ()
    assert cluster.open == []


def test_at_the_deadline_the_rest_is_closed(make_pool: MakePool) -> None:
    """The report says who still had a lease; theirs send no more."""
    pool = make_pool(size=2)
    kept = Run(pool.acquire).result()
    kept.producer.produce_sync("t", b"x")
    began = time.monotonic()
    report = pool.close(0.1)
    assert 0.1 <= time.monotonic() - began < 3
    assert not report.complete
    (holder,) = report.holders
    assert (holder.slot, holder.owner) == (0, "test-run")
    assert report.undelivered == []
    with pytest.raises(ProducerClosedError):
        kept.producer.produce_sync("t", b"y")
    kept.release()
    assert pool.stats().leased == 0


def test_own_leases_are_not_waited_for(make_pool: MakePool) -> None:
    """A thread would wait for itself."""
    pool = make_pool(size=2)
    with pool.acquire() as producer:
        producer.produce_sync("t", b"x")
        began = time.monotonic()
        report = pool.close(30)
        assert time.monotonic() - began < 5
    assert not report.complete
    assert len(report.holders) == 1
    assert producer.status is Status.CLOSED


def test_own_and_others(make_pool: MakePool) -> None:
    """The others' are waited for all the same."""
    pool = make_pool(size=2)
    others = Run(pool.acquire).result()
    with pool.acquire():
        began = time.monotonic()
        report = pool.close(0.1)
        assert time.monotonic() - began >= 0.1
    assert len(report.holders) == 2
    others.release()


def test_force(cluster: Cluster, make_pool: MakePool) -> None:
    """Purges, and waits for nobody."""
    pool = make_pool(size=2)
    kept = Run(pool.acquire).result()
    kept.producer.connect()
    cluster.silent = True
    kept.producer.produce_async("t", b"x")
    began = time.monotonic()
    report = pool.close(30, force=True)
    assert time.monotonic() - began < 5
    assert len(report.undelivered) == 1
    assert not report.complete
    kept.release()


def test_again(make_pool: MakePool) -> None:
    """The same report; the events are sent once."""
    pool = make_pool()
    send(pool)
    with record(pool.monitor) as events:
        first = pool.close()
        assert pool.close() == first
        assert pool.close(0, force=True) == first
    assert names(events) == ["pool.closing", "pool.closed"]


def test_two_at_once(make_pool: MakePool) -> None:
    """Both have the same report."""
    pool = make_pool(size=1)
    kept = Run(pool.acquire).result()
    closing = [Run(lambda: pool.close(30)) for _ in range(2)]
    eventually(lambda: pool.closed)
    time.sleep(0.02)
    kept.release()
    first, second = (each.result() for each in closing)
    assert first == second
    assert first.complete


@pytest.mark.parametrize("shorter", [{"timeout": 0.1}, {"force": True}])
def test_a_second_with_less_time(shorter: dict[str, Any], make_pool: MakePool) -> None:
    """It ends the first one too."""
    pool = make_pool(size=1)
    kept = Run(pool.acquire).result()
    first = Run(lambda: pool.close(60))
    eventually(lambda: pool.closed)
    began = time.monotonic()
    second = pool.close(**shorter)
    assert time.monotonic() - began < 3
    assert not second.complete
    assert first.result() == second
    kept.release()


def test_without_a_timeout(cluster: Cluster, make_pool: MakePool) -> None:
    """The config's `close_timeout`."""
    pool = make_pool(config(cluster, close_timeout=100), size=1)
    kept = Run(pool.acquire).result()
    began = time.monotonic()
    assert not pool.close().complete
    assert 0.1 <= time.monotonic() - began < 3
    kept.release()


def test_a_pool_that_was_never_used(make_pool: MakePool) -> None:
    """It has nothing to close, and needs no thread."""
    pool = make_pool()
    with record(pool.monitor) as events:
        report = pool.close()
    assert report == PoolReport()
    assert report.complete
    assert names(events) == ["pool.closing", "pool.closed"]


def test_what_a_late_lease_does(make_pool: MakePool) -> None:
    """A lease that comes back after the close changes nothing of its report."""
    pool = make_pool(size=1)
    kept = Run(pool.acquire).result()
    report = pool.close(0)
    kept.release()
    assert pool.close() == report
    assert pool.stats().granted == 1
    assert balanced(pool)


def test_inside_a_subscriber(make_pool: MakePool) -> None:
    """Of an event of the pool: it does not wait for itself."""
    pool = make_pool(size=1)
    closed: list[PoolReport] = []
    pool.monitor.subscribe("pool.released", lambda _: closed.append(pool.close(5)))
    send(pool)
    assert pool.closed
    assert closed


def test_a_close_that_is_held_up_before_it_begins(
    cluster: Cluster, make_pool: MakePool
) -> None:
    """For longer than its bound: it closes all the same, in the background."""
    pool = make_pool(config(cluster))
    send(pool)
    leasing, emitter = pool._leasing, pool._emitter  # noqa: SLF001 - no other way
    late = clock.system_now() - 10
    close = PoolClose(leasing, emitter, late, None)
    assert not close.wait(late).complete
    eventually(lambda: cluster.open == [], "it is closed")
