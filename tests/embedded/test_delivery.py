"""Every accepted message ends in one outcome, and everybody who asks gets it."""

from __future__ import annotations

import concurrent.futures
import copy
import pickle
import threading
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException

from tests.embedded.support import BOUND, eventually, in_threads
from waterdrop_py import DeliveryHandle, DeliveryReport
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    ProduceError,
    TuningWarning,
    WaterdropError,
)

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

SHORT = {"message.timeout.ms": 1_000}


def test_reports_arrive_with_nobody_polling(
    make_producer: MakeProducer, topic: str
) -> None:
    """`done()` comes true by itself, with no verb called and nobody waiting."""
    handle = make_producer().produce_async(topic, b"x")
    assert eventually(handle.done)
    assert handle.exception(0) is None
    assert handle.result(0).offset == 0


def test_a_retry_of_what_is_stored_already(
    make_producer: MakeProducer, cluster: EmbeddedCluster, topic: str
) -> None:
    """The broker says so, and not where: it is delivered, and has no offset."""
    producer = make_producer(kafka={"enable.idempotence": True})
    producer.produce_sync(topic, b"before", partition=0)
    cluster.push_errors("Produce", "duplicate_sequence_number")
    handle = producer.produce_async(topic, b"retried", partition=0)
    report = handle.result(BOUND)
    assert (report.error, report.partition, report.offset) == (None, 0, None)
    assert "delivered partition=0 offset=None" in repr(handle)
    stats = producer.stats()
    assert (stats.acknowledged, stats.failed) == (2, 0)


def test_a_report_is_the_same_however_it_is_asked_for(
    make_producer: MakeProducer, topic: str
) -> None:
    """Equal, and about the message as it was sent."""
    handle = make_producer().produce_async(topic, "text", key="k", headers={"h": "v"})
    report = handle.result(BOUND)
    assert report == handle.result(0)
    assert hash(report) == hash(handle.result())
    assert (report.message.payload, report.message.key) == (b"text", b"k")
    assert report.message.headers == [("h", b"v")]
    assert report.topic == handle.message.topic == topic


def test_a_message_that_cannot_be_delivered_fails_by_its_timeout(
    make_producer: MakeProducer, dead: str, log: EventLog
) -> None:
    """`msg_timed_out`, with the native error as cause, a checklist, and an event."""
    producer = make_producer(dead, kafka=SHORT)
    started = time.monotonic()
    with pytest.raises(ProduceError) as raised:
        producer.produce_sync("any", b"x", label=7)
    assert 1 <= time.monotonic() - started < 4
    assert raised.value.code == "msg_timed_out"
    assert isinstance(raised.value.__cause__, KafkaException)
    assert any("refused" in point for point in raised.value.checklist)
    assert "refused" in str(raised.value)
    (event,) = log.errors("librdkafka.dispatch_error")
    assert event["error"].code == "msg_timed_out"
    assert (event["label"], event["message"].payload) == (7, b"x")
    report = event["delivery_report"]
    assert report.error.code == "msg_timed_out"
    assert (report.topic, report.offset, report.label) == ("any", None, 7)
    assert len(log.errors("message.produce_sync")) == 1
    assert not log.all("message.produced_sync")
    assert (producer.stats().failed, producer.queue_size) == (1, 0)


def test_an_async_failure_is_on_the_handle(
    make_producer: MakeProducer, dead: str
) -> None:
    """`exception()` returns what `result()` raises, as often as one asks."""
    handle = make_producer(dead, kafka=SHORT).produce_async("any", b"x")
    assert not handle.done()
    error = handle.exception(BOUND)
    assert isinstance(error, ProduceError)
    for _ in range(2):
        with pytest.raises(ProduceError) as raised:
            handle.result(0)
        assert raised.value.code == error.code == "msg_timed_out"
    assert "msg_timed_out" in repr(handle)


@pytest.mark.timed
def test_a_wait_that_times_out_leaves_the_delivery_alone(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """DeliveryTimeoutError at the bound; a later wait returns the report."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_000)
    handle = producer.produce_async(topic, b"slow", partition=0)
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(DeliveryTimeoutError) as raised:
            handle.result(0.1)
        assert 0.1 <= time.monotonic() - started < 1
        assert isinstance(raised.value, TimeoutError)
        assert isinstance(raised.value, ProduceError)
    with pytest.raises(DeliveryTimeoutError):
        handle.exception(0)
    assert not handle.done()
    assert handle.result(BOUND).error is None


@pytest.mark.timed
def test_a_sync_call_gives_up_at_its_timeout(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """DeliveryTimeoutError at `timeout`; the message arrives all the same, once."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_000)
    started = time.monotonic()
    with pytest.raises(DeliveryTimeoutError):
        producer.produce_sync(topic, b"slow", partition=0, timeout=0.1)
    assert 0.1 <= time.monotonic() - started < 1
    assert producer.flush(BOUND) == 0
    cluster.set_rtt(0)
    values = sorted(m.value() or b"" for m in cluster.read(topic))
    assert values == [b"slow", b"warm"]


def test_a_sync_batch_that_times_out_says_so(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """DeliveryTimeoutError: a ProduceManyError would say that all is final."""
    with pytest.warns(TuningWarning):
        producer = make_producer(max_wait_timeout=100)
    assert producer.produce_sync(topic, b"warm", timeout=BOUND).error is None
    cluster.set_rtt(1_000)
    with pytest.raises(DeliveryTimeoutError):
        producer.produce_many_sync([{"topic": topic, "payload": b"x"}] * 2)


def test_done_callbacks_run_once_before_or_after(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Added before the outcome or after it; one that raises changes nothing."""
    producer = make_producer(kafka={"linger.ms": 60_000})
    called: list[tuple[str, DeliveryHandle]] = []

    def broken(_: DeliveryHandle) -> None:
        raise ValueError("mine")

    handle = producer.produce_async(topic, b"x")
    handle.add_done_callback(lambda h: called.append(("first", h)))
    handle.add_done_callback(broken)
    handle.add_done_callback(lambda h: called.append(("second", h)))
    assert called == []
    assert producer.flush(BOUND) == 0
    assert handle.result(BOUND).error is None
    assert eventually(lambda: len(called) == 2)
    handle.add_done_callback(lambda h: called.append(("late", h)))
    assert called == [("first", handle), ("second", handle), ("late", handle)]
    (event,) = log.errors("callbacks.done_callback.error")
    assert str(event["error"]) == "mine"
    with pytest.raises(WaterdropError, match="callable"):
        handle.add_done_callback(None)  # type: ignore[arg-type]


def test_acknowledged_is_told_of_before_the_handle_resolves(
    make_producer: MakeProducer, topic: str
) -> None:
    """A subscriber that takes its time is done when `result()` returns."""
    producer = make_producer()
    heard: list[object] = []

    @producer.monitor.on("message.acknowledged")
    def slow(event: object) -> None:
        time.sleep(0.05)
        heard.append(event)

    for number in range(1, 4):
        producer.produce_async(topic, b"x").result(BOUND)
        assert len(heard) == number


def test_as_future_works_with_concurrent_futures(
    make_producer: MakeProducer, topic: str, dead: str
) -> None:
    """`wait` returns them done, with the report or the error; none can be cancelled."""
    good = make_producer().produce_async(topic, b"x", label="good").as_future()
    bad = make_producer(dead, kafka=SHORT).produce_async("any", b"x").as_future()
    assert not bad.cancel()
    done, pending = concurrent.futures.wait([good, bad], timeout=BOUND)
    assert (len(done), len(pending)) == (2, 0)
    assert isinstance(good.result(0), DeliveryReport)
    assert good.result(0).label == "good"
    assert isinstance(bad.exception(0), ProduceError)


def test_a_future_of_a_resolved_handle_is_done(
    make_producer: MakeProducer, topic: str
) -> None:
    """At once."""
    handle = make_producer().produce_async(topic, b"x")
    handle.result(BOUND)
    assert handle.as_future().done()


def test_there_is_no_cancel(make_producer: MakeProducer, topic: str) -> None:
    """What librdkafka accepted cannot be called back: no such attribute."""
    handle = make_producer().produce_async(topic, b"x")
    assert not hasattr(handle, "cancel")
    with pytest.raises(AttributeError):
        _ = handle.no_such_attribute  # type: ignore[attr-defined]
    handle.result(BOUND)


def test_copies_and_pickles_are_refused(
    make_producer: MakeProducer, topic: str
) -> None:
    """TypeError, for the producer and for the handle."""
    producer = make_producer()
    handle = producer.produce_async(topic, b"x")
    for owner in (producer, handle):
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"cop|pickle"):
                attempt(owner)
    handle.result(BOUND)


@pytest.mark.timed
def test_many_threads_may_wait_for_one_handle(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """All get the report soon after it came."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm")
    cluster.set_rtt(200)
    handle = producer.produce_async(topic, b"x")
    started = time.monotonic()
    assert in_threads(8, lambda _: handle.result(BOUND)) == []
    assert time.monotonic() - started < 1


@pytest.mark.timed
def test_flush_waits_for_all_and_counts_what_is_left(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """At the timeout, how many are un-acknowledged; 0 when all are."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_000)
    handles = [producer.produce_async(topic, b"x", partition=0) for _ in range(5)]
    started = time.monotonic()
    assert producer.flush(0.1) == 5
    assert 0.1 <= time.monotonic() - started < 1
    assert producer.flush() == 0
    assert all(handle.done() for handle in handles)


def test_flush_is_not_deceived_by_reports_of_later_messages(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """While another thread's messages are acknowledged, the stuck one still counts."""
    producer = make_producer()
    for partition in (0, 1):
        producer.produce_sync(topic, b"warm", partition=partition)
    cluster.set_rtt(3_000, broker=1)
    stuck = producer.produce_async(topic, b"stuck", partition=0)
    left: list[int] = []
    flusher = threading.Thread(target=lambda: left.append(producer.flush(0.8)))
    flusher.start()
    for _ in range(3):
        producer.produce_sync(topic, b"quick", partition=1)
    flusher.join(BOUND)
    assert not stuck.done()
    assert left == [1]
    assert stuck.result(BOUND).error is None


@pytest.mark.timed
def test_linger_is_cut_short_by_flush(make_producer: MakeProducer, topic: str) -> None:
    """What waits for company is sent now."""
    producer = make_producer(kafka={"linger.ms": 20_000})
    handle = producer.produce_async(topic, b"x")
    started = time.monotonic()
    assert producer.flush(BOUND) == 0
    assert time.monotonic() - started < 2
    assert handle.done()


@pytest.mark.timed
def test_a_partition_key_look_up_keeps_to_the_calls_timeout(
    make_producer: MakeProducer, dead: str
) -> None:
    """A sync call's `timeout` bounds all of it; nothing was sent."""
    producer = make_producer(dead)
    started = time.monotonic()
    with pytest.raises(ProduceError):
        producer.produce_sync("any", b"x", partition_key=b"k", timeout=0.5)
    assert time.monotonic() - started < 2
    assert producer.stats().produced == 0


@pytest.mark.long
def test_a_partition_key_look_up_ends_after_five_seconds(
    make_producer: MakeProducer, dead: str
) -> None:
    """It raises with a checklist, and nothing was sent."""
    producer = make_producer(dead)
    started = time.monotonic()
    with pytest.raises(ProduceError) as raised:
        producer.produce_async("any", b"x", partition_key=b"k")
    assert 4.5 < time.monotonic() - started < 7
    assert raised.value.checklist
    assert producer.stats().produced == 0
