"""The events of a pool, and what its monitor hears of its producers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

import waterdrop_py
from tests.doubles import eventually
from tests.unit.pools.support import (
    FENCED,
    Cluster,
    config,
    lose,
    named,
    names,
    send,
    transactional,
)
from waterdrop_py.errors import PoolTimeoutError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool
    from waterdrop_py.monitor import Event
    from waterdrop_py.testing import FakeClock


def test_created(make_pool: MakePool) -> None:
    """The module's monitor hears of a pool from its beginning."""
    with record(waterdrop_py.monitor) as events:
        make_pool(size=3, client_limit=2, min_connected=1, name="orders")
    (created,) = named(events, "pool.created")
    assert created.payload == {
        "pool": "orders",
        "size": 3,
        "client_limit": 2,
        "min_connected": 1,
    }


def test_a_lease(make_pool: MakePool, time_: FakeClock) -> None:
    """What was waited, and what it was held, in milliseconds."""
    pool = make_pool(name="p")
    with record(pool.monitor) as events:
        lease = pool.acquire()
        time_.advance(1.5)
        lease.release()
    acquired, released = (
        event for event in events if event.name in {"pool.acquired", "pool.released"}
    )
    expected = {"pool": "p", "slot": 0, "producer_id": "p-0"}
    assert acquired.payload == released.payload == expected
    assert acquired["time"] == 0
    assert released["time"] == released.duration_ms == 1500


def test_a_wait(make_pool: MakePool) -> None:
    """`pool.acquired` says how long it was."""
    from tests.doubles import Run

    pool = make_pool(size=1)
    lease = pool.acquire()
    with record(pool.monitor) as events:
        waiting = Run(lambda: pool.acquire(30).release())
        eventually(lambda: pool.stats().waiting == 1)
        lease.release()
        waiting.result()
    (acquired,) = named(events, "pool.acquired")
    assert acquired["time"] > 0
    assert acquired["time"] == pytest.approx(pool.stats().wait_ms, abs=50)


def test_a_life(cluster: Cluster, make_pool: MakePool) -> None:
    """Each change of a pool is told, in order, with its payload."""
    pool = make_pool(size=1, name="p")
    with record(pool.monitor) as events:
        with pool.acquire() as producer:
            producer.produce_sync("t", b"x")
            with pytest.raises(PoolTimeoutError):
                pool.acquire(0.01)
            lose(producer)
        pool.resize(3)
        pool.reload()
        eventually(lambda: pool.stats().draining == 0)
        pool.close()
    assert names(events) == [
        "pool.acquired",
        "pool.exhausted",
        "pool.replaced",
        "pool.released",
        "pool.resized",
        "pool.reload",
        "pool.reloaded",
        "pool.closing",
        "pool.closed",
    ]
    assert all(each["pool"] == "p" for each in events if each.name.startswith("pool."))
    (replaced,) = named(events, "pool.replaced")
    assert (replaced["slot"], replaced["producer_id"]) == (0, "p-0")
    assert replaced["error"].code == "out_of_order_sequence_number"
    (resized,) = named(events, "pool.resized")
    assert (resized["size"], resized["before"]) == (3, 1)
    (reloaded,) = named(events, "pool.reloaded")
    assert reloaded["opened"] == 1
    assert reloaded["draining"] >= 0
    assert reloaded["time"] >= 0
    (closed,) = named(events, "pool.closed")
    assert closed["time"] >= 0


def test_of_all_producers(cluster: Cluster, make_pool: MakePool) -> None:
    """Also of later ones, from `producer.created` on; in both monitors, once each."""
    pool = make_pool(size=1, name="p")
    own: list[Event] = []
    pool.monitor.subscribe("producer.*", own.append)
    pool.monitor.subscribe("message.acknowledged", own.append)
    with record(waterdrop_py.monitor) as shared:
        first = send(pool)
        pool.reload()
        second = send(pool)
        pool.resize(2)
        leases = [pool.acquire() for _ in range(2)]
        third = leases[1].producer
        third.produce_sync("t", b"x")
        for lease in leases:
            lease.release()
        pool.close()
    assert len({first, second, third}) == 3
    for name, count in (
        ("producer.created", 3),
        ("producer.connected", 3),
        ("message.acknowledged", 3),
        ("producer.closed", 3),
    ):
        assert len(named(own, name)) == count, name
        assert len(named(shared, name)) == count, name
    assert {event["producer_id"] for event in own} == {"p-0", "p-1"}
    made = [event["producer"] for event in named(own, "producer.created")]
    assert made == [first, second, third]


def test_a_producers_own_monitor_hears_no_other(make_pool: MakePool) -> None:
    """And nothing of the pool."""
    pool = make_pool()
    first, second = pool.acquire(), pool.acquire()
    with record(first.producer.monitor) as events:
        second.producer.produce_sync("t", b"x")
        second.release()
    assert events == []
    first.release()


def test_a_subscription_ends(make_pool: MakePool) -> None:
    """For producers that were made meanwhile too."""
    pool = make_pool()
    heard: list[Event] = []
    unsubscribe = pool.monitor.subscribe("*", heard.append)
    send(pool)
    assert heard
    unsubscribe()
    heard.clear()
    send(pool)
    pool.resize(3)
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases:
        lease.producer.produce_sync("t", b"x")
        lease.release()
    assert heard == []


def test_a_late_subscription_hears_open_clients(make_pool: MakePool) -> None:
    """Of each message from then on."""
    pool = make_pool()
    send(pool)
    heard: list[Event] = []
    pool.monitor.subscribe("message.acknowledged", heard.append)
    send(pool)
    assert len(heard) == 1


def test_statistics(cluster: Cluster, make_pool: MakePool) -> None:
    """A subscription at the pool's monitor has each later client collect them."""
    pool = make_pool(size=2)
    pool.monitor.subscribe("statistics.emitted", lambda _: None)
    send(pool)
    assert int(cluster.clients[0].conf.get("statistics.interval.ms", 0)) > 0
    other = make_pool(size=1)
    send(other)
    assert not int(cluster.clients[1].conf.get("statistics.interval.ms", 0))


def test_out_of_service(cluster: Cluster, make_pool: MakePool) -> None:
    """A slot that leaves the service is not replaced, and the error is known."""
    pool = make_pool(transactional(cluster))
    with record(pool.monitor) as events:
        with pool.transaction() as producer:
            pass
        lose(producer, FENCED)
        with pool.acquire():
            pass
    assert named(events, "pool.replaced") == []
    assert pool.stats().replaced == 0


def test_a_background_open_that_fails(cluster: Cluster, make_pool: MakePool) -> None:
    """`error.occurred` of type `pool.open`, once; the next `acquire()` tries again."""
    cluster.down = True
    pool = make_pool(size=2, min_connected=1, name="p")
    with record(pool.monitor) as events:
        pool.acquire().release()
        eventually(lambda: named(events, "error.occurred"))
        (error,) = named(events, "error.occurred")
        assert (error["type"], error["pool"], error["slot"]) == ("pool.open", "p", 0)
        assert error["producer_id"] == "p-0"
        cluster.down = False
        pool.acquire().release()
        eventually(lambda: pool.stats().connected == 1)
        assert len(named(events, "error.occurred")) == 1


def test_a_subscriber_that_raises(make_pool: MakePool) -> None:
    """It is told of as `subscriber.error`, and the lease goes on, and back."""
    pool = make_pool(size=1)

    def fail(_: object) -> None:
        raise LookupError

    with record(pool.monitor) as events:
        for name in ("pool.acquired", "pool.released", "pool.resized", "pool.closed"):
            pool.monitor.subscribe(name, fail)
        send(pool)
        pool.resize(2)
        assert pool.stats().available == 2
        pool.close()
    errors = named(events, "error.occurred")
    assert [each["type"] for each in errors] == ["subscriber.error"] * 4


def test_a_tag_is_in_every_event(cluster: Cluster, make_pool: MakePool) -> None:
    """Of the pool, as of its producers."""
    pool = make_pool(config(cluster, tags={"team": "a"}))
    with record(pool.monitor) as events:
        send(pool)
    assert {dict(event.tags).get("team") for event in events} == {"a"}


def test_a_leak_whose_warning_is_an_error(make_pool: MakePool) -> None:
    """A filter that raises costs no lease."""
    import gc
    import sys

    pool, caught = make_pool(size=1), list[object]()
    hook, sys.unraisablehook = sys.unraisablehook, caught.append
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pool.acquire()
            gc.collect()
    finally:
        sys.unraisablehook = hook
    assert pool.stats().available == 1
    assert pool.stats().leaked == 1
