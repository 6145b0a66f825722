"""Sends while librdkafka's queue is full: wait, fail in time, or fail at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, in_threads
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import DeliveryHandle
    from waterdrop_py.testing import EmbeddedCluster

TINY = {"queue.buffering.max.messages": 10}


def test_a_tiny_queue_takes_ten_thousand_messages(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """4 threads, a queue of 10, the default policy: no error, and all are read back."""
    producer = make_producer(kafka=TINY)
    handles: list[DeliveryHandle] = []

    def send(index: int) -> None:
        for number in range(2_500):
            handles.append(producer.produce_async(topic, b"%d-%d" % (index, number)))

    assert in_threads(4, send) == []
    assert producer.flush(BOUND) == 0
    assert len(handles) == 10_000
    assert all(handle.exception(0) is None for handle in handles)
    values = [message.value() for message in cluster.read(topic)]
    assert len(values) == len(set(values)) == 10_000
    stats = producer.stats()
    assert (stats.produced, stats.acknowledged, stats.failed) == (10_000, 10_000, 0)


def fill(producer: Any) -> list[DeliveryHandle]:
    """Fill the queue of a producer whose broker is down."""
    return [producer.produce_async("any", b"x") for _ in range(10)]


@pytest.mark.timed
def test_the_wait_ends_at_its_deadline(
    make_producer: MakeProducer, dead: str, log: EventLog
) -> None:
    """The error is `queue_full`, retriable, chained to the BufferError."""
    producer = make_producer(
        dead,
        kafka=TINY,
        wait_timeout_on_queue_full=300,
        wait_backoff_on_queue_full=50,
    )
    fill(producer)
    started = time.monotonic()
    with pytest.raises(ProduceError) as raised:
        producer.produce_async("any", b"one too many")
    assert 0.3 <= time.monotonic() - started < 1.5
    assert (raised.value.code, raised.value.retriable) == ("queue_full", True)
    assert isinstance(raised.value.__cause__, BufferError)
    assert raised.value.checklist
    assert producer.queue_size == len(producer) == 10
    assert len(log.errors("message.produce_async")) >= 2


def test_the_wait_can_be_kept_out_of_the_events(
    make_producer: MakeProducer, dead: str, log: EventLog
) -> None:
    """Without instrument_on_wait_queue_full only the failure is an event."""
    producer = make_producer(
        dead,
        kafka=TINY,
        wait_timeout_on_queue_full=200,
        wait_backoff_on_queue_full=20,
        instrument_on_wait_queue_full=False,
    )
    fill(producer)
    with pytest.raises(ProduceError, match="queue_full"):
        producer.produce_async("any", b"x")
    assert len(log.errors("message.produce_async")) == 1


@pytest.mark.timed
def test_without_the_policy_it_raises_at_once(
    make_producer: MakeProducer, dead: str, log: EventLog
) -> None:
    """With wait_on_queue_full=False a send fails at once."""
    producer = make_producer(dead, kafka=TINY, wait_on_queue_full=False)
    fill(producer)
    started = time.monotonic()
    for verb in (producer.produce_async, producer.produce_sync):
        with pytest.raises(ProduceError) as raised:
            verb("any", b"x")
        assert raised.value.code == "queue_full"
    assert time.monotonic() - started < 2  # the wait would take 10
    assert len(log.errors("message.produce_async")) == 1
    assert len(log.errors("message.produce_sync")) == 1


@pytest.mark.timed
def test_a_sync_call_waits_no_longer_than_its_timeout(
    make_producer: MakeProducer, dead: str
) -> None:
    """The timeout of produce_sync includes the wait for room."""
    producer = make_producer(dead, kafka=TINY)
    fill(producer)
    started = time.monotonic()
    with pytest.raises(ProduceError) as raised:
        producer.produce_sync("any", b"x", timeout=0.3)
    assert 0.3 <= time.monotonic() - started < 1
    assert raised.value.code == "queue_full"


def test_a_callback_that_sends_into_a_full_queue_does_not_hang(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A callback that sends once more, with a queue of 10, delivers every message."""
    producer = make_producer(kafka=TINY)
    more: list[DeliveryHandle] = []

    def again(_: DeliveryHandle) -> None:
        more.append(producer.produce_async(topic, b"again"))

    handles = []
    for _ in range(200):
        handles.append(producer.produce_async(topic, b"first"))
        handles[-1].add_done_callback(again)
    for handle in handles:
        handle.result(BOUND)
    assert producer.flush(BOUND) == 0
    assert [handle.exception(BOUND) for handle in more] == [None] * 200
    assert len(cluster.read(topic)) == 400


@pytest.mark.parametrize("waits", [True, False])
def test_a_message_larger_than_the_whole_queue(
    make_producer: MakeProducer, dead: str, waits: bool
) -> None:
    """A message larger than the whole queue is refused at once, and the property named;
    one that fits an empty queue is sent."""
    producer = make_producer(
        dead, kafka={"queue.buffering.max.kbytes": "1"}, wait_on_queue_full=waits
    )
    started = time.monotonic()
    for send in (
        lambda: producer.produce_async("any", b"x" * 1_025),
        lambda: producer.produce_sync("any", "x" * 1_025),
        lambda: producer.produce_many_async(
            [{"topic": "any", "payload": b"x" * 1_025}]
        ),
    ):
        with pytest.raises(ProduceError) as raised:
            send()
        assert raised.value.code == "msg_size_too_large"
        assert not raised.value.retriable
        assert "queue.buffering.max.kbytes is 1 (1024 bytes)" in str(raised.value)
    assert time.monotonic() - started < 5
    producer.produce_async("any", b"x" * 1_024)
    producer.close(0, force=True)
