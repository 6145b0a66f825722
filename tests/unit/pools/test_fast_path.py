"""The fast path of a lease: what it grants and ends, and what it leaves to others."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Run, eventually
from waterdrop_py import ProducerPool
from waterdrop_py._engine.concurrency import clock
from waterdrop_py.errors import PoolExhaustedError
from waterdrop_py.pools._leasing import Leasing
from waterdrop_py.pools._members import Members
from waterdrop_py.testing import FakeClient, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waterdrop_py.pools._slot import Slot


@pytest.fixture
def pool() -> Iterator[ProducerPool]:
    """Two producers, both open."""
    with opened() as made:
        yield made


@contextmanager
def opened(**kafka: Any) -> Iterator[ProducerPool]:
    """A pool of two producers, both open."""
    config = {"kafka": {"client.id": "fast", **kafka}, "client_factory": FakeClient}
    with ProducerPool(config, size=2, timeout=0) as made:
        leases = [made.acquire() for _ in range(2)]
        for lease in leases:
            lease.producer.produce_sync("t", b"x")
            lease.release()
        assert made.stats().connected == 2
        yield made


def noted(name: str, taken: list[str]) -> Callable[..., Any]:
    """That step of `Leasing`, which is noted in `taken`."""
    step: Callable[..., Any] = getattr(Leasing, name)

    def run(*given: Any, **more: Any) -> Any:
        taken.append(name)
        return step(*given, **more)

    return run


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of `Leasing` that were needed."""
    taken: list[str] = []
    for name in ("take", "give_back", "follow_up", "end"):
        monkeypatch.setattr(Leasing, name, noted(name, taken))
    return taken


def at_the_clock(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    """Call `then` when the clock is looked at next: where a lease has its seat, and
    before one gives it up."""
    me = threading.get_ident()
    calls = [then]

    def now() -> float:
        if calls and threading.get_ident() == me:
            calls.pop()()
        return clock.system_now()

    monkeypatch.setattr(clock, "now", now)


def interrupt() -> None:
    """A signal handler that raises."""
    raise KeyboardInterrupt


def test_an_open_and_free_producer_takes_no_other(
    pool: ProducerPool, long_ways: list[str]
) -> None:
    """It is granted and given back, and counted, without the long way."""
    before = pool.stats()
    with pool.acquire() as first, pool.acquire() as second:
        assert [first.id, second.id] == [each.producer_id for each in pool.slots()]
        assert pool.stats().leased == 2
        assert all(each.held_ms >= 0 for slot in pool.slots() for each in slot.holders)
    assert long_ways == []
    after = pool.stats()
    assert (after.granted - before.granted, after.warm - before.warm) == (2, 2)
    assert after.leased == 0
    assert after.usage_ms > before.usage_ms


def test_a_second_release_does_nothing(pool: ProducerPool) -> None:
    """Also where another lease has the seat by now."""
    lease = pool.acquire()
    lease.release()
    used = pool.stats().usage_ms
    with pool.acquire():
        lease.release()
        assert pool.stats().leased == 1
    assert pool.stats().usage_ms >= used


def test_closed_producers_take_the_long_way(
    pool: ProducerPool, long_ways: list[str]
) -> None:
    """A free one that is open is found behind them; without one, slot 0 is leased."""
    with pool.acquire() as producer:
        assert producer.disconnect()
    long_ways.clear()
    with pool.acquire() as second:
        assert second.id == pool.slots()[1].producer_id
        assert long_ways == []
        with pool.acquire() as first:
            assert first is producer
            assert long_ways == ["take"]


def test_subscribers_hear_of_each_lease(pool: ProducerPool) -> None:
    """Its grant and its end are events, once each."""
    with record(pool.monitor) as events:
        lease = pool.acquire()
        lease.release()
        lease.release()
    assert [each.name for each in events] == ["pool.acquired", "pool.released"]


def test_a_caller_that_waits_is_served(pool: ProducerPool) -> None:
    """By the release, at once, and in its turn."""
    leases = [pool.acquire() for _ in range(2)]
    waiter = Run(lambda: pool.acquire(5.0))
    eventually(lambda: pool.stats().waiting == 1)
    with pytest.raises(PoolExhaustedError):
        pool.acquire(block=False)
    leases[1].release()
    lease = waiter.result()
    assert lease.slot == 1
    lease.release()
    leases[0].release()


def test_a_resize_meets_a_lease_on_the_fast_path(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. The lease has its seat in slot 1. 2. `resize(1)` finds it taken, and leaves
    slot 1 to its release. 3. The lease gives the seat up, and retires the producer."""
    with pool.acquire():
        at_the_clock(monkeypatch, lambda: pool.resize(1))
        with pytest.raises(PoolExhaustedError):
            pool.acquire()
        eventually(lambda: pool.stats().connected == 1)
        assert pool.stats().leased == 1
    assert pool.stats().available == 1


def test_a_resize_meets_a_lease_on_the_long_way(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, for a lease that subscribers hear of."""
    pool.monitor.subscribe("pool.acquired", lambda _: None)
    with pool.acquire():
        at_the_clock(monkeypatch, lambda: pool.resize(1))
        with pytest.raises(PoolExhaustedError):
            pool.acquire()
        eventually(lambda: pool.stats().connected == 1)
        assert pool.stats().leased == 1


def test_a_reload_meets_a_lease_on_the_fast_path(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease gets a new producer, and the old ones are closed."""
    with pool.acquire() as old:
        pass
    at_the_clock(monkeypatch, pool.reload)
    with pool.acquire() as new:
        assert new is not old
        new.produce_sync("t", b"x")
    eventually(lambda: not old.is_connected)


def test_a_reload_meets_a_producer_that_is_made(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. A lease makes a producer by the settings as they are. 2. A reload changes
    them. 3. The lease gets another producer, and the first is closed."""
    made: list[Any] = []
    make = Members.make

    def reloaded(members: Members, slot: Slot) -> Any:
        made.append(make(members, slot))
        if len(made) == 1:
            pool.reload({"kafka": {"client.id": "2"}, "client_factory": FakeClient})
        return made[-1]

    pool.resize(3)
    with pool.acquire(), pool.acquire():
        monkeypatch.setattr(Members, "make", reloaded)
        with pool.acquire() as producer:
            assert producer is not made[0]
            assert producer.config.kafka["client.id"] == "2"
            eventually(lambda: made[0].status == "closed")


def test_a_close_meets_a_lease_on_the_fast_path(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is granted, and the close waits for none."""
    at_the_clock(monkeypatch, lambda: None if pool.close(1.0).complete else interrupt())
    with pytest.raises(Exception, match="is closed"):
        pool.acquire()
    assert pool.stats().leased == 0


def test_a_handler_that_raises_while_a_lease_is_granted(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seat is free again, and the call counts as refused."""
    at_the_clock(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.acquire()
    stats = pool.stats()
    assert (stats.leased, stats.refused, stats.leaked) == (0, 1, 0)
    assert stats.requests == stats.granted + stats.refused
    with pool.acquire(), pool.acquire():
        pass


def test_a_handler_that_raises_while_a_lease_ends(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease ends all the same, and its figures are right."""
    lease = pool.acquire()
    before = pool.stats().usage_ms
    at_the_clock(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        lease.release()
    assert lease.released
    held = lease.held_ms
    assert pool.stats().usage_ms == pytest.approx(before + held)
    assert lease.held_ms == held
    assert (pool.stats().leased, pool.stats().leaked) == (0, 0)


def test_what_a_release_has_to_do_is_done(pool: ProducerPool) -> None:
    """A producer whose slot was taken away meanwhile is closed."""
    leases = [pool.acquire() for _ in range(2)]
    pool.resize(1)
    assert pool.stats().connected == 2
    leases[1].release()
    eventually(lambda: pool.stats().connected == 1)
    leases[0].release()
