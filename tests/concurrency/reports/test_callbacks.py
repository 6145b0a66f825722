"""What a callback or subscriber may do inside the poll that serves it."""

from __future__ import annotations

import _thread
from collections import deque
from threading import current_thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.support import connection_of, named
from tests.doubles import BOUND, Park, Run, eventually
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.process import poller
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py.errors import ReentrantCallError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import DeliveryHandle, Producer
    from waterdrop_py._engine.client.client import Client


def sync_verbs(producer: Producer, handle: DeliveryHandle) -> list[Any]:
    """Every verb that waits, and could only wait for its own thread."""
    return [
        lambda: producer.produce_sync("t", b"no"),
        lambda: producer.produce_many_sync([{"topic": "t", "payload": b"no"}]),
        lambda: producer.flush(1),
        lambda: handle.result(1),
    ]


@pytest.mark.parametrize("by", ["poller", "waiter"])
def test_verbs_from_an_acknowledged_subscriber(
    bench: Bench, make: Make, by: str
) -> None:
    """Sends are accepted; waits are refused with nothing sent; it cannot disconnect."""
    producer = make()
    seen: list[str] = []
    handles: list[DeliveryHandle] = []

    def act(_: object) -> None:
        if handles:
            return
        handles.append(producer.produce_async("t", b"inside"))
        for verb in sync_verbs(producer, handles[0]):
            try:
                verb()
            except ReentrantCallError as error:
                seen.append(type(error).__name__)
        assert producer.disconnect() is False
        assert "in_flight=" in repr(producer)
        assert producer.stats().in_flight == 2

    producer.monitor.subscribe("message.acknowledged", act)
    if by == "waiter":
        producer.produce_sync("t", b"outer")
    else:
        producer.produce_async("t", b"outer")
    eventually(lambda: handles and handles[0].done())
    assert seen == ["ReentrantCallError"] * 4
    assert [payload for _, payload in bench.sent] == [b"outer", b"inside"]
    assert not named(make.events, "error.occurred") or seen


@pytest.mark.parametrize("by", ["poller", "waiter"])
def test_close_from_an_acknowledged_subscriber(
    bench: Bench, make: Make, by: str
) -> None:
    """close() there returns at once, and closes when the poll ends."""
    producer = make()
    reports: list[bool] = []
    producer.monitor.subscribe(
        "message.acknowledged", lambda _: reports.append(producer.close(4).complete)
    )
    if by == "waiter":
        producer.produce_sync("t", b"outer")
    else:
        assert producer.produce_async("t", b"outer").result(5).error is None
    assert reports == [False]
    eventually(lambda: str(producer.status) == "closed")


def test_disconnect_from_a_done_callback(bench: Bench, make: Make) -> None:
    """After the last outcome it is safe: the client is closed once the poll ends."""
    producer = make()
    bench.auto = False
    results: list[bool] = []
    handle = producer.produce_async("t", b"x")
    handle.add_done_callback(lambda _: results.append(producer.disconnect()))
    bench.client.ack()
    handle.result(5)
    eventually(lambda: results and not bench.open_clients)
    assert results == [True]


def test_send_in_a_callback_with_a_full_queue(bench: Bench, make: Make) -> None:
    """It would wait for itself, so the message is sent when the poll ends."""
    producer = make()
    bench.limit = 1
    handles: list[DeliveryHandle] = []
    done: list[DeliveryHandle] = []

    def act(_: object) -> None:
        if not handles:
            handles.append(producer.produce_async("t", b"fills"))
            handles.append(producer.produce_async("t", b"deferred"))
            handles[1].add_done_callback(done.append)
            with pytest.raises(ReentrantCallError):
                handles[1].result(1)

    producer.monitor.subscribe("message.acknowledged", act)
    producer.produce_async("t", b"outer").result(5)
    eventually(lambda: len(handles) == 2 and handles[1].done())
    assert [payload for _, payload in bench.sent] == [b"outer", b"fills", b"deferred"]
    assert done == [handles[1]]


def test_a_callback_that_takes_long_delays_no_other_producer(
    bench: Bench, make: Make
) -> None:
    """A subscriber that sleeps delays its own reports, and no other producer's."""
    slow, other = make(), None
    events = make.events
    park = Park()
    slow.monitor.subscribe("message.acknowledged", lambda _: park())
    stuck = slow.produce_async("t", b"x")
    park.entered()
    other = make.quiet()
    heard: list[DeliveryHandle] = []
    for _ in range(3):
        other.produce_async("t", b"y").add_done_callback(heard.append)
    eventually(lambda: len(heard) == 3, "the other producer's reports")
    eventually(lambda: named(events, "error.occurred"))
    assert named(events, "error.occurred")[0]["type"] == "poller.slow"
    assert not stuck.done()
    park.go()
    stuck.result(5)
    again = slow.produce_async("t", b"z")
    again.add_done_callback(heard.append)
    eventually(lambda: len(heard) == 4, "the slow one's reports")


def quiet_life(make: Make, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Of a client that is quiet, and looked at every 10 ms."""
    monkeypatch.setattr(poller, "QUIET_PERIOD", 0.01)
    producer = make.quiet()
    producer.produce_async("t", b"x").result(5)
    client = connection_of(producer).client
    eventually(lambda: client.quiet and client in RUNTIME.poller._clients)  # noqa: SLF001
    return client


def test_a_quiet_client_is_served_when_something_waits(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error or a log line is served without a message; nothing is not polled for."""
    client = quiet_life(make, monkeypatch)
    looks: list[None] = []
    monkeypatch.setattr(type(client), "busy", _count(looks, type(client).busy))
    eventually(lambda: looks, "a look")
    polls = bench.calls["poll"]
    eventually(lambda: len(looks) > 5, "more of them")
    assert bench.calls["poll"] == polls
    heard: list[object] = []
    bench.client.event(lambda *_: heard.append(1))
    eventually(lambda: heard, "the event")


@pytest.mark.parametrize("raises", ["poll_soon", "pop"])
def test_a_handler_that_raises_as_the_poller_is_told(
    bench: Bench, make: Make, raises: str
) -> None:
    """A send that ends the quiet has the client served: later sends rely on it."""
    producer = make.quiet()
    client = open_noted(producer._connection, None)  # noqa: SLF001
    poll_soon = client.poll_soon

    def interrupt(_: object) -> None:
        client.poll_soon = poll_soon
        raise KeyboardInterrupt

    class Marks(deque[None]):
        """Borrows; a handler raises as one ends."""

        def pop(self) -> None:  # type: ignore[override]
            super().pop()
            if not client.quiet:
                client.borrows = deque()
                raise KeyboardInterrupt

    if raises == "poll_soon":
        client.poll_soon = interrupt
    else:
        client.borrows = Marks()
    with pytest.raises(KeyboardInterrupt):
        producer.produce_async("t", b"x")
    heard: list[DeliveryHandle] = []
    producer.produce_async("t", b"y").add_done_callback(heard.append)
    eventually(lambda: heard, "the report")


@pytest.mark.parametrize("owed", ["a number without a message", "a refused close"])
def test_a_quiet_client_is_settled_when_something_is_owed(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch, owed: str
) -> None:
    """An exception also interrupted the settling. The next look at the client makes up
    for it, though nothing waits in it."""
    client = quiet_life(make, monkeypatch)
    settled: list[None] = []
    client.on_settled = lambda: settled.append(None)
    if owed == "a refused close":
        client.refusals.add("call")
        eventually(lambda: settled, "another look at the deadline")
    else:
        next(client.sent)
        client.counters_uncertain = True
        eventually(lambda: not client.in_flight(), "the number of no message")


def _count(calls: list[None], function: Any) -> Any:
    def counted(self: Any) -> Any:
        calls.append(None)
        return function(self)

    return counted


def test_raising_callbacks_change_nothing(bench: Bench, make: Make) -> None:
    """Subscribers, done-callbacks and on_delivery that raise are reported once each."""

    def burst(*_: object) -> None:
        raise ValueError("user code")

    producer = make(kafka={"on_delivery": burst})
    producer.monitor.subscribe("message.acknowledged", burst)
    bench.auto = False
    handle = producer.produce_async("t", b"x")
    handle.add_done_callback(burst)
    bench.client.ack()
    assert handle.result(5).error is None
    eventually(lambda: len(named(make.events, "error.occurred")) == 3)
    kinds = sorted(payload["type"] for payload in named(make.events, "error.occurred"))
    assert kinds == [
        "callbacks.done_callback.error",
        "callbacks.on_delivery.error",
        "subscriber.error",
    ]
    assert producer.stats().acknowledged == 1


def test_a_ctrl_c_while_subscribers_hear_of_a_report(bench: Bench, make: Make) -> None:
    """It ends the wait of the main thread, and nothing else: a worker runs them."""
    producer = make()
    heard: list[tuple[str, str]] = []

    def interrupt(_: object) -> None:
        _thread.interrupt_main()
        heard.append(("first", current_thread().name))

    producer.monitor.subscribe("message.acknowledged", interrupt)
    producer.monitor.subscribe(
        "message.acknowledged",
        lambda _: heard.append(("next", current_thread().name)),
    )
    with pytest.raises(KeyboardInterrupt):
        producer.produce_sync("t", b"x")
    eventually(lambda: producer.stats().acknowledged == 1)
    assert [name for name, _ in heard] == ["first", "next"]
    assert all(thread.startswith("waterdrop-") for _, thread in heard)
    eventually(producer.disconnect)


@pytest.mark.parametrize("verb", ["flush", "close"])
def test_callbacks_are_waited_for(bench: Bench, make: Make, verb: str) -> None:
    """A message has its outcome before its callback has ended: `flush` and `close`
    return when both are over."""
    producer, park = make.quiet(), Park()
    handle = producer.produce_async("t", b"x")
    handle.add_done_callback(lambda _: park())
    park.entered()
    assert handle.done()
    waiting = Run(lambda: getattr(producer, verb)(BOUND))
    waiting.join(0.1)
    assert waiting.is_alive()
    park.go()
    waiting.result()


def test_a_report_that_comes_as_the_worker_ends(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has settled what there was, and another report arrives before it
    releases the lock: the poll's thread leaves it to the worker, which looks again."""
    producer = make.quiet()
    bench.auto = False
    handles = [producer.produce_async("t", b"x") for _ in range(2)]
    client = connection_of(producer).client
    heard: list[DeliveryHandle] = []
    for handle in handles:
        handle.add_done_callback(heard.append)
    late = [None]

    class Lock(OwnedLock):
        """Before whose release by the worker the second report arrives."""

        def release(self, hold: Hold) -> bool:
            if heard and late:
                late.clear()
                # The poll's thread leaves it to the one that holds the lock.
                monkeypatch.setattr(type(client), "settle_here", lambda _: None)
                bench.client.ack()
                eventually(lambda: client.arrived, "the second report")
            return super().release(hold)

    client.settle_lock = Lock()
    bench.client.ack(1)
    eventually(lambda: heard == handles, "the second report's callback")
