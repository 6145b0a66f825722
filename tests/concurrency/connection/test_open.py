"""Opening a client while others want it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.concurrency.support import connection_of, named
from tests.doubles import Run, eventually, kafka_failure
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    ProduceError,
    ProducerClosedError,
    ReentrantCallError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import DeliveryHandle, Producer


def test_senders_wait_for_one_open(bench: Bench, make: Make) -> None:
    """Eight threads that send while a client is opened get that one client."""
    producer = make.quiet()
    with bench.park("open") as park:
        senders = [Run(lambda: producer.produce_async("t", b"x")) for _ in range(8)]
        park.entered()
        assert str(producer.status) == "connecting"
    for sender in senders:
        sender.result().result(5)
    assert len(bench.clients) == 1
    assert len(bench.client.taken) == 8
    assert bench.calls["open"] == 1


def test_failed_open_is_that_callers_error(bench: Bench, make: Make) -> None:
    """The opening thread gets the error; a waiting one tries again, and opens one."""
    producer = make.quiet()
    bench.fail("open", OSError("no thread starts"))
    with bench.park("open") as park:
        first = Run(lambda: producer.produce_async("t", b"x"))
        park.entered()
        second = Run(lambda: producer.produce_async("t", b"y"))
        eventually(second.is_alive)
    with pytest.raises(OSError, match="no thread"):
        first.result()
    second.result().result(5)
    assert [payload for _, payload in bench.sent] == [b"y"]


def test_failed_open_leaves_the_connection_empty(bench: Bench, make: Make) -> None:
    """After a failed open nothing is open, and the next send opens."""
    producer = make()
    bench.fail("open", OSError("no thread starts"))
    with pytest.raises(OSError, match="no thread"):
        producer.produce_sync("t", b"x")
    assert str(producer.status) == "configured"
    assert connection_of(producer).state.name == "EMPTY"
    producer.produce_sync("t", b"x")
    assert producer.stats().opens == 1


@pytest.mark.parametrize("event", ["producer.connecting", "producer.connected"])
def test_interrupt_in_a_subscriber_of_an_open(
    bench: Bench, make: Make, event: str
) -> None:
    """A Ctrl-C while an open is told of leaves the producer usable, and reaped."""
    producer = make(idle=True)
    interrupts: list[BaseException] = [KeyboardInterrupt()]

    def interrupt(_: object) -> None:
        if interrupts:
            raise interrupts.pop()

    producer.monitor.subscribe(event, interrupt)
    with pytest.raises(KeyboardInterrupt):
        producer.produce_async("t", b"x")
    if producer.is_connected:
        connection = connection_of(producer)
        schedule = connection.runtime.reaper
        assert connection.due_at() is not None
        assert not connection.client.borrows
        assert schedule is not None
    producer.produce_sync("t", b"x")
    assert len(bench.clients) == 1


def test_an_open_that_takes_too_long(bench: Bench, make: Make) -> None:
    """A sync send waits for another thread's open within its own bound."""
    producer = make.quiet()
    with bench.park("open") as park:
        opener = Run(lambda: producer.produce_async("t", b"x"))
        park.entered()
        with pytest.raises(DeliveryTimeoutError, match="nothing was sent"):
            producer.produce_sync("t", b"y", timeout=0.05)
    opener.result().result(5)
    assert [payload for _, payload in bench.sent] == [b"x"]


def test_close_while_another_thread_opens(bench: Bench, make: Make) -> None:
    """close() waits for the open within its bound, then leaves the rest to it."""
    producer = make.quiet()
    with bench.park("open") as park:
        opener = Run(lambda: producer.produce_async("t", b"x"))
        park.entered()
        report = producer.close(0.05)
        assert not report.complete
    eventually(lambda: str(producer.status) == "closed")
    try:
        opener.result()
    except ProducerClosedError:
        assert bench.sent == []
    with pytest.raises(ProducerClosedError):
        producer.produce_async("t", b"x")


def test_sends_from_inside_an_open(bench: Bench, make: Make) -> None:
    """In a `connecting` subscriber: async is sent when the open ends, sync refused."""
    producer = make()
    handles: list[DeliveryHandle] = []
    refused: list[type[BaseException]] = []

    def send(_: object) -> None:
        handles.append(producer.produce_async("t", b"inside"))
        verbs: list[Callable[[], object]] = [
            lambda: producer.produce_sync("t", b"sync"),
            lambda: handles[0].result(1),
        ]
        for verb in verbs:
            try:
                verb()
            except ReentrantCallError as error:
                refused.append(type(error))
        assert not producer.disconnect()

    producer.monitor.subscribe("producer.connecting", send)
    outer = producer.produce_async("t", b"outer")
    assert handles[0].result(5).error is None
    outer.result(5)
    assert refused == [ReentrantCallError, ReentrantCallError]
    assert sorted(payload for _, payload in bench.sent) == [b"inside", b"outer"]


def test_deferred_send_whose_open_fails(bench: Bench, make: Make) -> None:
    """A message left to the end of an open that fails ends with an error."""
    producer = make()
    handles: list[DeliveryHandle] = []

    def send(_: object) -> None:
        if not handles:
            handles.append(producer.produce_async("t", b"inside"))

    producer.monitor.subscribe("producer.connecting", send)
    failure = OSError("no thread starts")
    bench.fail("open", failure, failure)
    with pytest.raises(OSError, match="no thread"):
        producer.produce_async("t", b"outer")
    assert isinstance(handles[0].exception(5), OSError)
    assert bench.sent == []


@pytest.mark.timed
def test_close_from_inside_an_open(bench: Bench, make: Make) -> None:
    """In a `connecting` subscriber close() goes on in the background."""
    producer = make()
    reports: list[bool] = []
    took: list[float] = []

    def close(_: object) -> None:
        started = time.monotonic()
        reports.append(producer.close(4).complete)
        took.append(time.monotonic() - started)

    producer.monitor.subscribe("producer.connecting", close)
    try:
        producer.produce_async("t", b"x").result(5)
    except ProducerClosedError:
        assert bench.sent == []
    assert reports == [False]
    assert took[0] < 2
    eventually(lambda: named(make.events, "producer.closed"))
    assert str(producer.status) == "closed"
    assert len(named(make.events, "producer.closed")) == 1


def test_sends_from_a_connected_subscriber(bench: Bench, make: Make) -> None:
    """In a `connected` subscriber the client is there: both verbs work."""
    producer = make()
    offsets: list[int | None] = []

    def send(_: object) -> None:
        assert not producer.disconnect()
        offsets.append(producer.produce_sync("t", b"x", timeout=2).offset)
        offsets.append(producer.produce_async("t", b"y").result(2).offset)

    producer.monitor.subscribe("producer.connected", send)
    producer.produce_sync("t", b"z")
    assert offsets == [0, 1]
    assert len(bench.clients) == 1


def test_a_disconnect_while_connected_is_told_of(bench: Bench, make: Make) -> None:
    """Another thread's `disconnect()` is refused until each subscriber has heard of
    the client: it hears of the end after the beginning. `explain_idle()` says so."""
    producer = make()
    refused: list[bool] = []
    reasons: list[str] = []

    def disconnect(_: object) -> None:
        if not refused:
            refused.append(not Run(producer.disconnect).result())
            reasons.extend(each.code for each in producer.explain_idle().reasons)

    producer.monitor.subscribe("producer.connected", disconnect)
    producer.connect()
    assert refused == [True]
    assert "call" in reasons
    assert len(bench.clients) == 1


def test_an_open_that_ends_before_the_wakeup_is_added(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that found an open in progress, and adds its wake-up late, goes on.

    The open ends, and wakes, before the sender has added its wake-up.
    """
    producer = make.quiet()
    with bench.park("open") as park:
        opener = Run(lambda: producer.produce_async("t", b"x"))
        park.entered()

        def late() -> Wakeup:
            monkeypatch.undo()
            monkeypatch.setattr(
                "waterdrop_py._engine.connection.lifecycle_lock._RECHECK", 60.0
            )
            park.go()
            opener.result()
            return Wakeup()

        monkeypatch.setattr("waterdrop_py._engine.concurrency.locks.Wakeup", late)
        sender = Run(lambda: producer.produce_async("t", b"y"))
        sender.result().result(5)
    assert len(bench.clients) == 1


@pytest.mark.parametrize(
    "verb",
    [
        lambda p: p.produce_sync("t", b"x"),
        lambda p: p.produce_async("t", b"x"),
        lambda p: p.produce_async("t", b"x", partition_key="k"),
        lambda p: p.produce_many_sync([{"topic": "t", "payload": b"x"}]),
        lambda p: p.partition_count("t"),
        lambda p: p.native().__enter__(),
        lambda p: p.transaction().__enter__(),
    ],
    ids=["sync", "async", "key", "many", "count", "native", "transaction"],
)
def test_what_librdkafka_refuses_to_open_is_a_produce_error(
    bench: Bench, make: Make, verb: Callable[[Producer], object]
) -> None:
    """Of every verb, at once, chained to what confluent-kafka raised."""
    producer = make(kafka={"transactional.id": "x"})
    bench.fail("open", kafka_failure(KafkaError._CRIT_SYS_RESOURCE))  # noqa: SLF001
    with pytest.raises(ProduceError, match="could not be opened") as caught:
        verb(producer)
    assert caught.value.code == "crit_sys_resource"
    assert isinstance(caught.value.__cause__, KafkaException)
    assert bench.calls["open"] == 1
