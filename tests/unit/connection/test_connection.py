"""The connection, one step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.concurrency.still import StillProducer
from tests.concurrency.support import IDLE, reap
from tests.doubles import Bench
from waterdrop_py._engine.client.pins import Pin
from waterdrop_py._engine.client.poll_lock import PollLock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.connection import disconnecting, teardown
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.connection.disconnecting import discard, disconnect
from waterdrop_py._engine.connection.metadata_request import Request
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.connection.recovery import Recovery, ReloadPolicy
from waterdrop_py._engine.connection.teardown import Teardown
from waterdrop_py.errors import ProduceError
from waterdrop_py.testing import FakeClock

if TYPE_CHECKING:
    from waterdrop_py.monitor import Event
    from waterdrop_py.typing import KafkaClient


def idle_producer() -> tuple[StillProducer, list[Event]]:
    """One with an idle timeout of IDLE, and what it refuses."""
    producer = StillProducer(Bench(), idle_disconnect_timeout=int(IDLE * 1000))
    refused: list[Event] = []
    producer.monitor.subscribe("producer.disconnect_refused", refused.append)
    return producer, refused


def test_an_interrupted_opening_leaves_no_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its client is destroyed at once, and not when the garbage collector comes by."""
    bench = Bench()
    connection = StillProducer(bench).connection

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("waterdrop_py._engine.connection.discovery.watch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_noted(connection, None)
    assert [client.closed for client in bench.clients] == [True]
    assert open_noted(connection, None).native is bench.client


def test_a_reason_is_said_once() -> None:
    """However often the reaper comes by; once more after an activity."""
    with FakeClock() as time:
        producer, refused = idle_producer()
        connection = producer.connection
        client = open_noted(connection, None)
        client.borrows.append(None)
        time.advance(IDLE)
        for _ in range(3):
            reap(connection)
        assert [event["reason"] for event in refused] == ["call"]
        connection.restart_deadline()
        reap(connection)
        assert [event["reason"] for event in refused] == ["call", "call"]


def test_an_ended_close_lets_the_next_one_go_on() -> None:
    """A client that was refused for the close before it is looked at when that ends."""
    with FakeClock() as time:
        producer, refused = idle_producer()
        connection, schedule = producer.connection, producer.runtime.schedule
        open_noted(connection, None)
        assert disconnect(connection, "requested").teardown is not None
        open_noted(connection, None)
        time.advance(IDLE)
        assert schedule.sweep(time.now()) == [connection]
        reap(connection)
        assert [event["reason"] for event in refused] == ["call"]
        assert schedule.sweep(time.now()) == []
        producer.runtime.run_jobs()
        assert schedule.sweep(time.now()) == [connection]


def test_settle_looks_again_after_its_mark() -> None:
    """A message that comes between the look and the mark of quiet is seen."""
    producer = StillProducer(Bench())
    client = open_noted(producer.connection, None)
    native = client.native
    assert native is not None

    class Late:
        """A client whose next message comes right after the first look at it."""

        def __init__(self, inner: KafkaClient) -> None:
            self._inner, self._looks = inner, 0

        def __len__(self) -> int:
            found = len(self._inner)
            self._looks += 1
            if self._looks == 1:
                self._inner.produce("t", value=b"x")
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    client.native = cast("KafkaClient", Late(native))
    assert not client.check_quiet()
    assert not client.quiet


def test_a_close_waits_for_the_poll() -> None:
    """A client is not closed while a thread polls it, and is when that ends."""
    bench = Bench()
    producer = StillProducer(bench)
    client = open_noted(producer.connection, None)
    assert disconnect(producer.connection, "requested").teardown is not None
    hold = Hold()
    assert client.poll_lock.take(hold)
    producer.runtime.run_jobs()
    assert bench.open_clients
    client.stop_polling(hold)
    producer.runtime.run_jobs()
    assert not bench.open_clients


def test_a_destroyed_client_is_forgotten_before_its_lock_is_free() -> None:
    """A thread that takes the poll lock then finds no native client to poll."""
    bench = Bench()
    producer = StillProducer(bench)
    client = open_noted(producer.connection, None)
    seen: list[object] = []

    class Lock(PollLock):
        """Notes what the next thread would poll."""

        def release(self, hold: Hold) -> bool:
            if self.held_by(hold):
                seen.append(client.native)
            return super().release(hold)

    assert disconnect(producer.connection, "requested").teardown is not None
    client.poll_lock = Lock()
    producer.runtime.run_jobs()
    assert not bench.open_clients
    assert seen == [None]


def test_a_close_that_waits_for_a_thread_is_not_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its job waits: a thread is started for that, and no second job is added."""
    monkeypatch.setattr("waterdrop_py._engine.connection.teardown.RETRY", -1.0)
    producer = StillProducer(Bench())
    open_noted(producer.connection, None)
    closing = disconnect(producer.connection, "requested").teardown
    assert closing is not None
    starts: list[None] = []
    monkeypatch.setattr(
        producer.runtime, "start_if_needed", lambda: starts.append(None)
    )
    closing.retry_if_stuck()
    assert len(starts) == len(producer.runtime.jobs) == 1
    producer.runtime.run_jobs()


@pytest.mark.parametrize("inside", ["a call", "a block"])
def test_a_lost_client_is_destroyed_when_no_thread_is_inside(
    monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """A fatal error detaches it whatever it has; a native close during another native
    call would abort the process."""
    bench = Bench()
    producer = StillProducer(bench)
    client = open_noted(producer.connection, None)
    open_meanwhile: list[bool] = []

    def leaves(_: float) -> None:
        open_meanwhile.append(bool(bench.open_clients))
        client.borrows.clear()
        client.pins.clear()

    client.pins.append(Pin(0, "any", 0.0))
    discard(producer.connection, client)
    if inside == "a call":
        client.pins.clear()
        client.borrows.append(None)
    monkeypatch.setattr(teardown, "sleep", leaves)
    producer.runtime.run_jobs()
    assert open_meanwhile == [True]
    assert not bench.open_clients


def test_a_lost_client_waits_for_the_close_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At most one is closed at a time."""
    producer = StillProducer(Bench())
    open_noted(producer.connection, None)
    earlier = disconnect(producer.connection, "requested").teardown
    lost = open_noted(producer.connection, None)
    waited: list[Teardown] = []

    def wait(closing: Teardown, _: float) -> None:
        waited.append(closing)
        producer.runtime.run_jobs()

    monkeypatch.setattr(Teardown, "wait", wait)
    discard(producer.connection, lost)
    assert [each.client for each in waited] == [earlier and earlier.client, lost]
    assert waited[0] is earlier


def test_a_lost_client_is_closed_whatever_interrupts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal handler raises as its messages are given up."""
    bench = Bench()
    producer = StillProducer(bench)
    client = open_noted(producer.connection, None)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(disconnecting, "give_up", interrupt)
    with pytest.raises(KeyboardInterrupt):
        discard(producer.connection, client)
    producer.runtime.run_jobs()
    assert not bench.open_clients


def test_a_detached_client_is_asked_nothing() -> None:
    """A request begins only where the client is still the connection's: its close may
    have begun."""
    bench = Bench()
    producer = StillProducer(bench)
    client = open_noted(producer.connection, None)
    request = Request(producer.connection, client, "t", 1e9)
    assert disconnect(producer.connection, "requested").teardown is not None
    request.run()
    assert request.over
    assert bench.calls["list_topics"] == 0
    producer.runtime.run_jobs()


def test_a_lost_client_is_closed_where_it_was_left_detached() -> None:
    """A signal handler raised as a disconnect decided about it: the close finds it."""
    producer = StillProducer(Bench())
    connection = producer.connection
    client = open_noted(connection, None)
    connection.client = NO_CLIENT
    lost = disconnecting._detach_lost(connection, client)  # noqa: SLF001
    assert lost is not None
    assert connection.current_client is None
    lost.begin()
    producer.runtime.run_jobs()


def test_a_client_is_replaced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that waited for the lock finds another client there."""
    producer = StillProducer(Bench())
    connection = producer.connection
    policy = ReloadPolicy(enabled=True, backoff=0, most=3, never=frozenset())
    recovery = Recovery(connection, connection.emitter, policy)
    client = open_noted(connection, None)

    class Lock(OwnedLock):
        """The thread that had it has closed the client."""

        def take(self, hold: Hold) -> bool:
            assert disconnect(connection, "requested").teardown is not None
            return super().take(hold)

    recovery._lock = Lock()  # noqa: SLF001
    replaced: list[object] = []
    monkeypatch.setattr(Recovery, "_replace", lambda *_: replaced.append(None))
    assert recovery.reload(client, ProduceError("lost", code="fenced"), None)
    assert replaced == []
    producer.runtime.run_jobs()
