"""Interleavings of a pool's calls that the source names."""

# ruff: noqa: PT012 - the call is made in the patched world

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import pytest

import tests.moments
from tests.concurrency.pools.support import aside, each_moment, whole_again
from tests.doubles import Run, eventually
from tests.unit.pools.support import Cluster, send, transactional
from waterdrop_py import Status
from waterdrop_py.errors import PoolExhaustedError
from waterdrop_py.pools import _leasing, _waiting
from waterdrop_py.pools._producer import PoolProducer
from waterdrop_py.pools._retiring import History, Retired

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import Lease

SIZE = 2


def test_a_release_meets_a_caller_that_begins_to_wait(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each moment of its call: it gets the lease at once, and not by the second look
    that a waiting caller takes after half a second, or when its time is up."""
    monkeypatch.setattr(_leasing.Leasing, "sweep", lambda _: None)
    pool = make_pool(size=1)
    kept: list[Any] = []
    given: list[float] = []

    def give_back() -> None:
        while kept:
            kept.pop().release()
            given.append(time.monotonic())

    too_late = 0
    for moments in each_moment(aside(give_back)):
        kept.append(pool.acquire())
        given.clear()
        began = time.monotonic()
        try:
            with moments:
                pool.acquire(0.2).release()
        except TimeoutError:
            assert not given or given[0] - began >= 0.2, "it came back in time"
            too_late += 1
        give_back()
        whole_again(pool, 1)
        if too_late == 3:  # it refuses by now
            break


@pytest.mark.parametrize("kind", ["plain", "transactional"])
def test_a_reload_meets_a_lease_that_is_being_granted(
    kind: str, cluster: Cluster, make_pool: MakePool
) -> None:
    """At each of its moments: a lease that is granted after the reload has the new
    producer, and the old one is closed once no lease has it."""
    source = transactional(cluster) if kind == "transactional" else None
    pool = make_pool(source, size=1, timeout=5)
    for moments in each_moment(aside(pool.reload)):
        with pool.acquire() as before:
            pass
        with moments:
            lease = pool.acquire()
        assert lease.producer.status is not Status.CLOSED
        if kind == "plain":
            lease.producer.produce_sync("t", b"x")
        else:
            with lease.producer.transaction():
                lease.producer.produce_async("t", b"x")
        lease.release()
        with pool.acquire(5) as after:
            pass
        if moments.reached:
            assert after is not before
            eventually(lambda before=before: before.status is Status.CLOSED)  # type: ignore[misc]
        whole_again(pool, 1)
    assert cluster.together == []


def test_a_sweep_meets_a_reload(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a caller comes after it, at each moment of the reload: no lease has a
    producer that is to be closed at once."""
    pool = make_pool(timeout=5)
    taken: list[Lease] = []
    ending: list[PoolProducer] = []
    begin = Retired.begin

    def noting(retired: Retired) -> None:
        ending.append(retired.producer)
        begin(retired)

    monkeypatch.setattr(Retired, "begin", noting)

    def sweep_and_take() -> None:
        pool._sweep()  # noqa: SLF001 - once a second, on the poller
        with suppress(PoolExhaustedError):
            for _ in range(SIZE):
                taken.append(pool.acquire(0))

    for moments in each_moment(aside(sweep_and_take)):
        send(pool)
        with moments:
            pool.reload()
        while taken:
            lease = taken.pop()
            assert lease.producer not in ending
            lease.producer.produce_sync("t", b"x")
            lease.release()
        whole_again(pool, SIZE)


def test_a_reload_meets_a_shrink(make_pool: MakePool) -> None:
    """A new producer that the shrink has closed is not in use again, and its figures
    count once."""
    pool = make_pool(timeout=5)
    sent = 0

    def send_and_shrink() -> None:
        nonlocal sent
        with pool.acquire(0), pool.acquire(0) as producer:
            producer.produce_sync("t", b"x")
        sent += 1
        pool.resize(SIZE - 1)
        eventually(lambda: pool.stats().draining == 0)
        pool.resize(SIZE)

    for moments in tests.moments.each_moment(
        "pools/_members.py", aside(send_and_shrink)
    ):
        with pool.acquire() as first, pool.acquire() as second:
            first.connect()
            second.connect()
        with moments:
            pool.reload()
        assert all(each.status is not Status.CLOSED for each in pool.slots())
        assert pool.stats().acknowledged == sent
        with pool.acquire(0) as first, pool.acquire(0) as second:
            first.produce_sync("t", b"x")
            second.produce_sync("t", b"x")
            sent += 2


def test_a_handler_that_raises_while_it_serves_another(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that gives a lease back has a seat for the caller that waits, and is
    interrupted before it tells it. The caller finds its seat by itself."""
    pool = make_pool(size=1, timeout=10)
    lease = pool.acquire()
    waiting = Run(lambda: pool.acquire().release())
    eventually(lambda: pool.stats().waiting == 1)

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_waiting.Waiter, "give", interrupt)
        lease.release()
    waiting.result()
    whole_again(pool, 1)


def test_a_producer_that_retires_meanwhile_counts_once(make_pool: MakePool) -> None:
    """Figures are read at each moment of a reload, and a reload comes at each moment of
    that: every message counts once."""
    pool = make_pool(size=1)
    send(pool, 3)
    seen: list[int] = []

    def reload() -> None:
        pool.reload()
        eventually(lambda: pool.stats().draining == 0)

    for moments in each_moment(aside(reload)):
        with moments:
            stats = pool.stats()
        seen.append(stats.acknowledged)
    for moments in each_moment(aside(lambda: seen.append(pool.stats().acknowledged))):
        with moments:
            pool.reload()
    assert set(seen) == {3}


@pytest.mark.parametrize("kind", ["plain", "transactional"])
def test_two_that_retire_a_producer(
    kind: str, cluster: Cluster, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two shrinks at once is slow to note it. It is closed by then, and does not
    count as draining for good. Its slot does not wait for it, and its figures count
    once."""
    pool = make_pool(transactional(cluster) if kind == "transactional" else None)
    with pool.acquire(), pool.acquire() as producer:
        producer.connect()
        with producer.transaction() if kind == "transactional" else nullcontext():
            producer.produce_async("t", b"x")
        producer.flush()
    add, first = History.add, [True]

    def slow(history: History, retired: Retired) -> None:
        if first and first.pop():
            Run(lambda: pool.resize(1)).result()
            eventually(lambda: retired.end.done, "it is closed")
        add(history, retired)

    monkeypatch.setattr(History, "add", slow)
    pool.resize(1)
    stats = pool.stats()
    assert (stats.draining, stats.produced, stats.disconnects) == (0, 1, 1)
    pool.resize(SIZE)
    whole_again(pool, SIZE)


def test_a_producer_is_retired_once(make_pool: MakePool) -> None:
    """Two that shrink: also where threads switch while an attribute is set."""
    pool = make_pool()
    for moments in tests.moments.each_moment("", aside(lambda: pool.resize(1)), 9999):
        pool.resize(SIZE)
        with pool.acquire(), pool.acquire() as producer:
            producer.produce_sync("t", b"x")
        before = pool.stats().disconnects
        with moments:
            pool.resize(1)
        eventually(lambda: pool.stats().draining == 0)
        assert pool.stats().disconnects == before + 1


def test_a_text_meets_a_shrink(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is asked whether there is a producer, another thread takes it out."""
    pool = make_pool()
    with pool.acquire(), pool.acquire():
        pass
    asked = iter(range(SIZE))

    def truth(_: object) -> bool:
        if next(asked, None) == SIZE - 1:
            aside(lambda: pool.resize(SIZE - 1))()
        return True

    with monkeypatch.context() as patch:
        patch.setattr(PoolProducer, "__bool__", truth, raising=False)
        assert repr(pool).startswith("<ProducerPool")
