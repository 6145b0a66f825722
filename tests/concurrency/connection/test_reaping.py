"""The reaper, on a clock that the test moves."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.still import StillProducer
from tests.concurrency.support import IDLE, HookedCount, connection_of, named, reap
from tests.doubles import Run, eventually
from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.produce.validation import fill
from waterdrop_py.message import Message
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import Producer
    from waterdrop_py.testing import FakeClock


def send(producer: Producer) -> None:
    """Deliver a message, and wait until the client's last activity is noted."""
    producer.produce_sync("t", b"x", timeout=2)
    eventually(lambda: connection_of(producer).client.quiet)


def test_closed_at_the_deadline_and_not_before(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """Nothing happens a moment before the deadline; at the deadline it is closed."""
    producer = make(idle=True)
    send(producer)
    time_.advance(IDLE - 0.001)
    connection = connection_of(producer)
    reap(connection)
    assert producer.is_connected
    assert not named(make.events, "producer.disconnect_refused")
    time_.advance(0.001)
    eventually(lambda: not bench.open_clients)
    eventually(lambda: named(make.events, "producer.disconnected"))
    [payload] = named(make.events, "producer.disconnected")
    assert (payload["reason"], payload["idle_ms"]) == ("idle", IDLE * 1000)
    assert producer.produce_sync("t", b"y").offset == 0


def test_every_idle_client_of_many_is_closed(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """A hundred clients that fall due together are all closed, once each."""
    producers = [
        make.quiet(idle_disconnect_timeout=int(IDLE * 1000)) for _ in range(100)
    ]
    for producer in producers:
        send(producer)
    time_.advance(IDLE)
    eventually(lambda: not bench.open_clients)
    assert bench.calls["close"] == 100


def test_in_flight_is_refused_once_and_closed_after_the_report(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """Due with a message on its way: said once; a timeout after the report, closed."""
    producer = make(idle=True)
    bench.auto = False
    handle = producer.produce_async("t", b"x")
    connection = connection_of(producer)
    time_.advance(IDLE)
    eventually(lambda: named(make.events, "producer.disconnect_refused"))
    for _ in range(2):
        time_.advance(IDLE)
        reap(connection)
    bench.client.ack()
    handle.result(5)
    [refused] = named(make.events, "producer.disconnect_refused")
    assert (refused["reason"], refused["count"]) == ("in_flight", 1)
    eventually(lambda: connection.client.quiet)
    time_.advance(IDLE - 0.001)
    assert producer.is_connected
    time_.advance(0.001)
    eventually(lambda: not bench.open_clients)


def test_refusal_that_ends_while_it_is_noted(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """A report that comes while the refusal is told of does not lose the deadline.

    The reaper is refused for a message in flight, and forgets the client. Before it
    has noted that, the report is served: nothing is noted, nothing schedules it.
    """
    producer = make(idle=True)
    bench.auto = False
    handle = producer.produce_async("t", b"x")
    connection = connection_of(producer)

    def answer() -> None:
        bench.client.ack()
        eventually(
            lambda: connection.client.acknowledged == 1 and connection.client.quiet
        )

    connection.client.sent = HookedCount(connection.client.sent)  # type: ignore[assignment]
    noted = connection.client.refusals

    class Late(set[str]):
        """What was refused; the report comes just before it is noted."""

        def add(self, code: str) -> None:
            answer()
            connection.client.on_settled = None  # no later look of the poller's helps
            super().add(code)

    connection.client.refusals = Late(noted)
    time_.advance(IDLE)
    handle.result(5)

    def closed() -> bool:
        time_.advance(IDLE)  # again, if the report's time was noted after the last one
        return not bench.open_clients

    eventually(closed)


def test_report_served_by_the_reaper_is_activity(
    time_: FakeClock, bench: Bench
) -> None:
    """A report that the reaper itself finds starts the deadline again from there."""
    still = StillProducer(bench, idle_disconnect_timeout=int(IDLE * 1000))
    connection = still.connection
    bench.auto = False
    handle = fill(Message("t", b"x"), None)
    with record(still.monitor) as events:
        still.dispatch.send(handle, "message.produce_async")
        client = connection.client
        time_.advance(IDLE)
        bench.client.ack()
        reap(connection)
        assert handle.done()
        assert connection.client is client
        time_.advance(IDLE - 0.001)
        reap(connection)
        assert connection.client is client
        assert not named(events, "producer.disconnect_refused")
        time_.advance(0.001)
        reap(connection)
        still.runtime.run_jobs()
    assert not bench.open_clients


@pytest.mark.parametrize("reason", ["idle", "stale"])
def test_activity_between_due_and_the_look(
    time_: FakeClock, bench: Bench, make: Make, reason: str
) -> None:
    """A client found due, and active since, is kept: it is looked at again last."""
    producer = make(idle=True)
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    retirement = disconnect(connection, reason)
    assert [refusal.code for refusal in retirement.refusals] == ["not_due"]
    assert producer.is_connected
    assert producer.disconnect()


def test_send_finds_the_client_stale(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """After a suspension, with a late reaper, a send replaces the client first."""
    producer = make(idle=True)
    send(producer)
    with bench.park("close"):
        time_._now += IDLE  # noqa: SLF001 - the process was suspended: no wake-up
        producer.produce_sync("t", b"y", timeout=2)
        assert [len(client.taken) for client in bench.clients] == [1, 1]
    eventually(lambda: named(make.events, "producer.disconnected"))
    [payload] = named(make.events, "producer.disconnected")
    assert payload["reason"] == "stale"


def test_old_connections_are_replaced(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """A client older than `max_connection_age` is closed, however active it is."""
    producer = make(max_connection_age=int(IDLE * 1000))
    send(producer)
    time_.advance(IDLE / 2)
    producer.produce_sync("t", b"x")
    assert len(bench.clients) == 1
    time_.advance(IDLE / 2)
    eventually(lambda: named(make.events, "producer.disconnected"))
    assert named(make.events, "producer.disconnected")[0]["reason"] == "age"


def test_reaper_meets_a_send(time_: FakeClock, bench: Bench, make: Make) -> None:
    """Due while a send is parked inside the client: kept, and closed afterwards."""
    producer = make(idle=True)
    send(producer)
    connection = connection_of(producer)
    connection.client.on_settled = None  # no later look of the poller's helps
    with bench.park("list_topics") as park:
        inside = Run(producer.connect)
        park.entered()
        time_.advance(IDLE)
        eventually(lambda: named(make.events, "producer.disconnect_refused"))
        assert producer.is_connected
    inside.result()
    assert named(make.events, "producer.disconnect_refused")[0]["reason"] == "call"
    assert connection.client.last_activity == time_.now()  # connect() is activity
    time_.advance(IDLE)
    eventually(lambda: not bench.open_clients)


def test_reaper_meets_a_native_block(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """Due inside native(): said with its owner; closed as soon as the block ends."""
    producer = make(idle=True)
    with producer.native():
        time_.advance(IDLE)
        eventually(lambda: named(make.events, "producer.disconnect_refused"))
        assert producer.is_connected
    [refused] = named(make.events, "producer.disconnect_refused")
    assert (refused["reason"], bool(refused["owner"])) == ("pinned", True)
    eventually(lambda: not bench.open_clients)


@pytest.mark.parametrize("interrupted", ["pop", "look"])
def test_a_handler_that_raises_as_a_client_is_opened(
    time_: FakeClock, bench: Bench, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    """Its deadline is noted all the same: there may never be a send."""
    still = StillProducer(bench, idle_disconnect_timeout=int(IDLE * 1000))
    connection, schedule = still.connection, still.runtime.schedule

    class Marks(deque[None]):
        """Marks; a handler raises as one is taken away."""

        def pop(self) -> None:  # type: ignore[override]
            super().pop()
            connection.client.borrows = deque()
            raise KeyboardInterrupt

    def marked(*given: Any) -> Client:
        client = Client(*given)
        client.borrows = Marks()
        return client

    def interrupt(_: Any) -> None:
        if connection.client.native is not None:
            still.runtime.reschedule = schedule.add
            raise KeyboardInterrupt

    if interrupted == "look":
        still.runtime.reschedule = interrupt  # type: ignore[assignment]
    else:
        monkeypatch.setattr("waterdrop_py._engine.connection.opening.Client", marked)
    with pytest.raises(KeyboardInterrupt):
        open_noted(connection, None)
    time_.advance(IDLE)
    assert schedule.sweep(time_.now()) == [connection]
    reap(connection)
    still.runtime.run_jobs()
    assert not bench.open_clients


def test_a_message_of_native_is_waited_for_without_looking(
    time_: FakeClock, bench: Bench
) -> None:
    """The client is not judged again before that message's report was served."""
    still = StillProducer(bench, idle_disconnect_timeout=int(IDLE * 1000))
    bench.auto = False
    connection, schedule = still.connection, still.runtime.schedule
    client = open_noted(connection, None)
    client.pins.mark_used()  # as native() leaves it
    bench.client.produce("t", b"theirs", on_delivery=lambda *_: None)
    time_.advance(IDLE)
    assert schedule.sweep(time_.now()) == [connection]
    reap(connection)
    assert client.refusals == {"in_flight"}
    assert schedule.next() is None
    bench.client.ack()
    waiting.serve_arrived(client)
    assert schedule.sweep(time_.now()) == [connection]
    reap(connection)
    still.runtime.run_jobs()
    assert not bench.open_clients


def test_reaper_meets_a_hung_close(time_: FakeClock, bench: Bench, make: Make) -> None:
    """A due client waits for the one before it, whose close hangs; then it goes."""
    producer = make(idle=True)
    send(producer)
    with bench.park("close") as park:
        first = Run(producer.disconnect)
        park.entered()
        send(producer)
        time_.advance(IDLE)
        eventually(lambda: named(make.events, "producer.disconnect_refused"))
        assert bench.calls["close"] == 1
    assert first.result()
    eventually(lambda: not bench.open_clients)
    assert bench.calls["close"] == 2
