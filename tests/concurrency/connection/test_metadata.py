"""Requests for metadata: shared, waited for, left early, and in the way of a close."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException

from tests.concurrency.support import IDLE, connection_of, named
from tests.doubles import BOUND, Run, eventually
from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py._engine.connection import (
    disconnecting,
    metadata,
    metadata_request,
)
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py.errors import (
    BrokerUnreachableError,
    ProduceError,
    ProducerClosedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.states import Refusal
    from waterdrop_py.testing import FakeClock


def test_callers_share_one_request(bench: Bench, make: Make) -> None:
    """A hundred threads that look a topic up at once ask the cluster once."""
    bench.topics["t"] = 3
    producer = make()
    with bench.park("list_topics") as park:
        runs = [Run(lambda: producer.partition_count("t")) for _ in range(100)]
        park.entered()
        connection = connection_of(producer)
        eventually(lambda: len(connection.client.asking.requests["t"].wakeups) == 100)
    assert [run.result() for run in runs] == [3] * 100
    assert bench.calls["list_topics"] == 1
    assert not connection.client.asking.requests


def test_a_caller_with_more_time_goes_on(bench: Bench, make: Make) -> None:
    """It joins a request that ends before it; that one ends as late as it has to."""
    bench.topics["t"] = 3
    producer = make()
    producer.produce_sync("t", b"x")
    with bench.park("list_topics") as park:
        short = Run(lambda: producer.health(deep=True, timeout=0.05))
        park.entered()
        long = Run(lambda: producer.connect(BOUND))
        connection = connection_of(producer)
        eventually(lambda: len(connection.client.asking.requests["t"].wakeups) == 2)
        assert not short.result().healthy
        request = connection.client.asking.requests["t"]
        assert request.until > clock.system_now() + BOUND / 2
    assert long.result() is producer
    assert bench.calls["list_topics"] == 1


@pytest.mark.timed
def test_a_close_waits_for_a_metadata_request(bench: Bench, make: Make) -> None:
    """A request that no caller waits for does not keep the client from being closed,
    and no `disconnect()` for more than a second; the client is destroyed behind it."""
    producer = make()
    producer.produce_sync("t", b"x")
    with bench.park("list_topics") as park:
        assert not producer.health(deep=True, timeout=0.05).healthy
        park.entered()
        assert producer.explain_idle().disconnectable
        started = time.monotonic()
        assert producer.disconnect()
        assert time.monotonic() - started < 1.5
        assert not producer.is_connected
        assert bench.open_clients  # else a native call had met its close
        assert producer.produce_sync("t", b"y", timeout=2).error is None
        started = time.monotonic()
        assert producer.close(0.1).complete
        assert time.monotonic() - started < 0.6
    eventually(lambda: not bench.open_clients)


def test_a_request_is_announced_before_it_looks(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teardown that comes after the look for the client sees the request."""
    producer = make()
    producer.produce_sync("t", b"x")
    kept, seen = metadata_request.Request._kept, list[bool]()  # noqa: SLF001 - the look

    def looks(request: metadata_request.Request) -> bool:
        seen.append(request.running)
        return kept(request)

    monkeypatch.setattr(metadata_request.Request, "_kept", looks)
    producer.connect()
    assert seen == [True]


@pytest.mark.timed
def test_a_close_meets_a_caller_that_waits(bench: Bench, make: Make) -> None:
    """`close(timeout)` is in time while another thread connects, which is told."""
    producer = make()
    producer.produce_sync("t", b"x")
    with bench.park("list_topics") as park:
        connecting = Run(producer.connect)
        park.entered()
        started = time.monotonic()
        producer.close(0.2)
        assert time.monotonic() - started < 0.7
        with pytest.raises(ProducerClosedError):
            connecting.result()
        assert bench.open_clients
    eventually(lambda: not bench.open_clients)


def test_a_client_is_kept_while_a_caller_waits_for_metadata(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """A probe that takes longer than the idle timeout finds its client open; the
    deadline starts again with `connect()`."""
    producer = make(idle=True)
    with bench.park("list_topics") as park:
        connecting = Run(producer.connect)
        park.entered()
        time_.advance(3 * IDLE)
        eventually(lambda: named(make.events, "producer.disconnect_refused"))
    assert connecting.result() is producer
    assert producer.stats().opens == 1
    assert named(make.events, "producer.disconnect_refused")[0]["reason"] == "call"
    time_.advance(IDLE - 1)
    assert producer.is_connected
    time_.advance(1)
    eventually(lambda: not bench.open_clients)


def test_a_caller_stays_while_a_disconnect_decides(
    time_: FakeClock, bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is detached for a moment, is due, and has a caller: one that left then
    would replace it as stale, and ask once more."""
    producer, looks = make(idle=True), list[int | None]()
    serve, judge = waiting.serve_arrived, disconnecting._refusals  # noqa: SLF001

    def looking(client: Client) -> None:
        looks.append(threading.get_ident())
        serve(client)

    def judging(connection: Connection, client: Client, reason: str) -> list[Refusal]:
        assert connection.client is not client
        looks.clear()  # of two, the second was after the client was detached
        caller, callers = connecting.ident, client.asking.callers
        eventually(lambda: looks.count(caller) > 1 or not callers)
        return judge(connection, client, reason)

    monkeypatch.setattr(waiting, "serve_arrived", looking)
    with bench.park("list_topics") as park:
        connecting = Run(producer.connect)
        park.entered()
        monkeypatch.setattr(disconnecting, "_refusals", judging)
        time_.advance(3 * IDLE)
        eventually(lambda: named(make.events, "producer.disconnect_refused"))
    assert connecting.result() is producer
    assert (producer.stats().opens, bench.calls["list_topics"]) == (1, 1)


def test_an_old_count_is_asked_again_and_keeps_no_client(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """After 5 minutes, on a library thread: it is no activity, and a due client is
    closed all the same, once the native call has ended."""
    bench.topics["t"] = 2
    producer = make(idle_disconnect_timeout=600_000)
    assert producer.partition_count("t") == 2
    connection = connection_of(producer)
    bench.topics["t"] = 6
    time_.advance(299)
    assert producer.partition_count("t") == 2
    assert bench.calls["list_topics"] == 1
    before = connection.client.last_activity
    time_.advance(1)
    with bench.park("list_topics") as park:
        assert [producer.partition_count("t") for _ in range(9)] == [2] * 9
        park.entered()
        assert connection.client.last_activity == before
        time_.advance(300)
        eventually(lambda: not producer.is_connected)
    eventually(lambda: not bench.open_clients)
    assert producer.partition_count("t") == 6
    assert bench.calls["list_topics"] == 2
    assert not producer.is_connected
    assert not named(make.events, "producer.disconnect_refused")


def test_a_message_with_a_key_has_an_old_count_asked_again(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """Also where the client is closed before each message: behind it one is open."""
    bench.topics["t"] = 1
    producer = make()
    producer.produce_sync("t", b"x", partition_key="k")
    bench.topics["t"] = 6
    time_.advance(300)
    eventually(producer.disconnect)
    assert producer.produce_sync("t", b"x", partition_key="k").error is None
    eventually(lambda: connection_of(producer).partitions.count("t") == 6)
    assert bench.calls["list_topics"] == 2


def test_a_count_that_is_not_answered_is_asked_again_soon(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """A refresh that fails leaves the old count, and is tried again 10 s later."""
    bench.topics["t"] = 2
    producer = make()
    assert producer.partition_count("t") == 2
    bench.topics["t"] = 6
    time_.advance(300)
    bench.fail("list_topics", RuntimeError("no"))
    assert producer.partition_count("t") == 2
    eventually(lambda: bench.calls["list_topics"] == 2)
    time_.advance(9)
    assert producer.partition_count("t") == 2
    time_.advance(1)
    eventually(lambda: producer.partition_count("t") == 6)
    assert bench.calls["list_topics"] == 3


def test_an_interrupted_request_is_submitted_by_the_next(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler raises as the first caller hands it over."""
    bench.topics["t"] = 3
    producer = make()
    producer.produce_sync("t", b"x")

    submit, here = RUNTIME.workers.submit, threading.get_ident()

    def interrupted(job: Callable[[], None]) -> None:
        if threading.get_ident() != here:
            submit(job)
            return
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(RUNTIME.workers, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        producer.partition_count("t")
    assert producer.partition_count("t") == 3
    assert bench.calls["list_topics"] == 1


@pytest.mark.timed
def test_slow_brokers_of_many_producers_hold_up_no_close(
    bench: Bench, make: Make
) -> None:
    """Each request in progress has a thread, and there is one more for a close."""
    slow = [make.quiet() for _ in range(12)]
    other = make.quiet()
    other.produce_sync("t", b"x")
    with bench.park("list_topics") as park:
        runs = [Run(partial(each.connect, BOUND)) for each in slow]
        for _ in runs:
            park.entered()
        started = time.monotonic()
        assert other.disconnect()
        assert time.monotonic() - started < 1
    for run in runs:
        run.result()


def test_a_missing_topic_is_remembered(
    time_: FakeClock, bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 2 s each call fails at once, and names the topic and the nearest one; then
    one answer is enough to know that it is still missing."""
    monkeypatch.setattr("waterdrop_py._engine.connection.partition_lookup.LOOK_UP", 0.3)
    bench.missing.add("ordrs")
    producer = make()
    producer.produce_sync("orders", b"x")
    for _ in range(3):
        with pytest.raises(ProduceError) as raised:
            producer.produce_async("ordrs", b"x", partition_key="k")
        assert raised.value.code == "unknown_topic_or_part"
        assert "'ordrs'" in str(raised.value)
        assert "did you mean 'orders'?" in str(raised.value)
    asked = bench.calls["list_topics"]
    time_.advance(1.9)
    with suppress(ProduceError):
        producer.produce_async("ordrs", b"x", partition_key="k")
    assert bench.calls["list_topics"] == asked
    time_.advance(0.1)
    with pytest.raises(ProduceError, match="there is no topic"):
        producer.produce_async("ordrs", b"x", partition_key="k")
    assert bench.calls["list_topics"] == asked + 1
    assert producer.stats().produced == 1
    bench.missing.clear()
    bench.topics["ordrs"] = 2
    time_.advance(2)
    assert producer.produce_sync("ordrs", b"x", partition_key="k").error is None


def test_what_no_retry_mends_ends_connect(bench: Bench, make: Make) -> None:
    """At once, with `retriable` False, and without a call of `errback`."""
    producer = make()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    heard: list[BaseException] = []
    with bench.park("list_topics") as park:
        connecting = Run(
            lambda: producer.connect(60, errback=lambda error, _: heard.append(error))
        )
        park.entered()
        connection.reports.client_error(bench.error("_AUTHENTICATION", "bad password"))
        with pytest.raises(BrokerUnreachableError, match="bad password") as raised:
            connecting.result()
    assert not raised.value.retriable
    assert not heard


def test_the_probe_asks_for_one_topic(bench: Bench, make: Make) -> None:
    """The one last sent to; before any, a name that Kafka refuses."""
    producer = make()
    producer.connect()
    producer.produce_sync("a", b"x")
    producer.produce_sync("b", b"x")
    assert producer.health(deep=True).healthy
    assert bench.asked == [metadata.PROBE, "b"]


def test_a_topic_that_is_forbidden_is_said(bench: Bench, make: Make) -> None:
    """Authorization for the topic last sent to is an error; for the probe's name it is
    an answer like any other, and proof of the connection."""
    bench.refused = {metadata.PROBE, "t"}
    producer = make()
    assert producer.connect() is producer
    producer.produce_sync("t", b"x")
    with pytest.raises(BrokerUnreachableError, match="'t'") as raised:
        producer.connect()
    assert not raised.value.retriable
    assert "topic_authorization_failed" in str(raised.value)


def test_nothing_is_heard_of_a_client_that_was_let_go_of(
    bench: Bench, make: Make
) -> None:
    """While it waits for a native request, what it reports is not told."""
    producer = make()
    producer.produce_sync("t", b"x")
    heard: list[object] = []
    with bench.park("list_topics") as park:
        assert not producer.health(deep=True, timeout=0.05).healthy
        park.entered()
        native, client = bench.client, connection_of(producer).client
        assert producer.disconnect()
        eventually(lambda: client.poll_lock.locked)
        native.event(lambda *_: heard.append(_))
        producer.health()
        client.poll_soon(client)
        time.sleep(0.2)  # the poller would have served it
        assert not heard
        native.drop_events()
    eventually(lambda: not bench.open_clients)


def test_a_sent_request_gets_all_the_time_that_is_left(
    bench: Bench, make: Make
) -> None:
    """While no broker is connected a native call is short; one that was sent and not
    answered is followed by one that has the caller's whole time."""
    producer = make()
    failures = [bench.error("_TRANSPORT", ""), bench.error("_TIMED_OUT", "")]
    bench.fail("list_topics", *map(KafkaException, failures))
    producer.connect(60)
    first, second, third = bench.times
    assert first == second == metadata_request.FIRST
    assert third > 59


def test_a_due_client_is_active_before_it_is_left(
    time_: FakeClock, bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reaper looks at the very moment at which `connect()` waits no more."""
    producer = make(idle=True)
    with bench.park("list_topics") as park:
        connecting = Run(producer.connect)
        park.entered()
        connection = connection_of(producer)
        time_.advance(IDLE)
        eventually(lambda: named(make.events, "producer.disconnect_refused"))
        look = Connection.reschedule

        def reap(self: Connection) -> None:
            monkeypatch.setattr(Connection, "reschedule", look)
            disconnect(self, "idle")
            look(self)

        monkeypatch.setattr(Connection, "reschedule", reap)
    assert connecting.result() is producer
    assert producer.is_connected
    assert connection.client.last_activity == time_.now()


def test_an_answered_caller_keeps_the_client_until_it_leaves(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """The reaper looks after the answer, and before `connect()` has taken it."""
    producer = make(idle=True)
    refused: list[str] = []

    class Asking(dict[str, metadata_request.Request]):
        """Requests; the reaper looks as one is answered."""

        def __delitem__(self, topic: str) -> None:
            super().__delitem__(topic)
            refused.extend(
                each.code for each in disconnect(connection, "idle").refusals
            )

    with bench.park("list_topics") as park:
        connecting = Run(producer.connect)
        park.entered()
        connection = connection_of(producer)
        connection.client.asking.requests = Asking(connection.client.asking.requests)
        time_.advance(IDLE)
        eventually(lambda: named(make.events, "producer.disconnect_refused"))
    assert connecting.result() is producer
    assert refused == ["call"]
    assert producer.is_connected


def test_a_caller_that_is_interrupted_as_it_leaves_keeps_no_client(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """A signal handler raises out of `connect()` at its last steps."""
    producer = make(idle=True)

    class Wakeups(dict[Wakeup, None]):
        """Callers; a handler raises as one is taken away."""

        def pop(self, *_: object) -> None:
            raise KeyboardInterrupt

    with bench.park("list_topics") as park:
        connecting = Run(producer.connect)
        park.entered()
        [request] = connection_of(producer).client.asking.requests.values()
        eventually(lambda: request.wakeups)
        request.wakeups = Wakeups(request.wakeups)
    with pytest.raises(KeyboardInterrupt):
        connecting.result()
    assert not connection_of(producer).client.asking.callers
    time_.advance(IDLE)
    eventually(lambda: not bench.open_clients)
