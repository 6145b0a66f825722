"""The fast path of a lease: what it grants and ends, and what it leaves to others."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.support import connection_of
from tests.doubles import Run, eventually
from tests.moments import in_finalizer, interrupt
from waterdrop_py import ProducerPool
from waterdrop_py._engine.concurrency import clock
from waterdrop_py.errors import PoolError, PoolExhaustedError, ProduceError
from waterdrop_py.pools import _fast_path
from waterdrop_py.pools._leasing import Leasing
from waterdrop_py.pools._members import Members
from waterdrop_py.pools._waiting import ThreadWakeup, Waiter
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


def noted(owner: object, name: str, taken: list[str]) -> Callable[..., Any]:
    """That step of `owner`, which is noted in `taken`."""
    step: Callable[..., Any] = getattr(owner, name)

    def run(*given: Any, **more: Any) -> Any:
        taken.append(name)
        return step(*given, **more)

    return run


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of the long way that were needed."""
    taken: list[str] = []
    for name in ("give_back", "follow_up", "end"):
        monkeypatch.setattr(Leasing, name, noted(Leasing, name, taken))
    monkeypatch.setattr(_fast_path, "take", noted(_fast_path, "take", taken))
    return taken


def at_the_clock(monkeypatch: pytest.MonkeyPatch, *calls: Callable[[], object]) -> None:
    """Make a call each time that the clock is looked at next: where a lease has its
    seat, and before one gives it up. Finalizers of garbage look at it too."""
    me = threading.get_ident()
    left = list(calls)

    def now() -> float:
        if left and threading.get_ident() == me and not in_finalizer():
            left.pop(0)()
        return clock.system_now()

    monkeypatch.setattr(clock, "now", now)


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
        eventually(producer.disconnect)
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


def test_a_caller_that_waits_is_served(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the release, and not only by a sweep; and in its turn."""
    monkeypatch.setattr("waterdrop_py.pools._turn.RECHECK", 60.0)
    monkeypatch.setattr(Leasing, "sweep", lambda _: None)
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


def test_a_line_is_not_overtaken(pool: ProducerPool, long_ways: list[str]) -> None:
    """A seat is free, and belongs to a caller that waits and has not woken."""
    lease = pool.acquire()
    waiter = Waiter(lease._holding, ThreadWakeup(), 0)  # noqa: SLF001
    pool._leasing.line.join(waiter, None)  # noqa: SLF001
    with pytest.raises(PoolExhaustedError):
        pool.acquire()
    assert "take" in long_ways
    lease.release()


def shrink(pool: ProducerPool) -> None:
    """The first step of a resize."""
    members = pool._members  # noqa: SLF001
    members.use(members.settings.resized(1, 0))


def retire(pool: ProducerPool) -> None:
    """What follows a fatal error."""
    slot = slot_1(pool)
    assert slot.producer is not None
    pool._members.retire(slot, slot.producer)  # noqa: SLF001


def slot_1(pool: ProducerPool) -> Slot:
    """The slot that is free in these tests."""
    return pool._members.slots[1]  # noqa: SLF001


CHANGES: dict[str, Callable[[ProducerPool], object]] = {
    "shrink": shrink,
    "retire": retire,
    "outdated": lambda pool: setattr(slot_1(pool), "outdated", True),
    "error": lambda pool: setattr(slot_1(pool), "error", ProduceError("x", code="x")),
    "closing": lambda pool: setattr(slot_1(pool), "closing", object()),
    "closed": lambda pool: setattr(pool._members, "closed", True),  # noqa: SLF001
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_meets_a_lease_on_the_fast_path(
    change: Callable[[ProducerPool], object],
    pool: ProducerPool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each step of another thread is seen: the producer that was found is not given."""
    before = slot_1(pool).producer
    with pool.acquire():
        at_the_clock(monkeypatch, lambda: change(pool))
        with suppress(PoolError), pool.acquire() as producer:
            assert producer is not before
        slot_1(pool).error = slot_1(pool).closing = None


FATAL = ProduceError("x", code="x", fatal=True)
FOLLOWED: dict[str, Callable[[ProducerPool, Any], object]] = {
    "shrink": lambda pool, _: shrink(pool),
    "retire": lambda pool, _: retire(pool),
    "outdated": lambda pool, _: setattr(slot_1(pool), "outdated", True),
    "fatal": lambda _, connection: setattr(connection.client, "fatal", FATAL),
    "fatal client": lambda _, it: setattr(it, "fatal_client", it.client),
    "disconnected": lambda pool, _: slot_1(pool).producer.disconnect(),  # type: ignore[union-attr]
    "close": lambda pool, _: setattr(pool._leasing, "on_return", list),  # noqa: SLF001
}


@pytest.mark.parametrize("change", FOLLOWED.values(), ids=FOLLOWED)
def test_a_release_has_something_to_do(
    change: Callable[[ProducerPool, Any], object],
    pool: ProducerPool,
    long_ways: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each change of slot, producer or pool is looked at when the lease ends."""
    with pool.acquire():
        lease = pool.acquire()
        connection = connection_of(lease.producer)
        monkeypatch.setattr(Members, "look_after", lambda *_: None)
        change(pool, connection)
        lease.release()
        assert "follow_up" in long_ways
        connection.client.fatal = connection.fatal_client = None


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


def test_a_handler_that_raises_twice_while_a_lease_ends(
    pool: ProducerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease has ended, and is not lost later."""
    lease = pool.acquire()
    at_the_clock(monkeypatch, interrupt, interrupt)
    with pytest.raises(KeyboardInterrupt):
        lease.release()
    assert lease.released
    assert lease.held_ms == 0
    del lease
    assert (pool.stats().leased, pool.stats().leaked) == (0, 0)


def test_what_a_release_has_to_do_is_done(pool: ProducerPool) -> None:
    """A producer whose slot was taken away meanwhile is closed."""
    leases = [pool.acquire() for _ in range(2)]
    pool.resize(1)
    assert pool.stats().connected == 2
    leases[1].release()
    eventually(lambda: pool.stats().connected == 1)
    leases[0].release()
