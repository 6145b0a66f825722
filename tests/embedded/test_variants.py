"""Variants: their settings take effect and never mix, and they are disconnected."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, eventually, in_threads
from waterdrop_py import Message
from waterdrop_py._engine.process.resources import count_resources
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    ProduceError,
    ProducerClosedError,
)

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import DeliveryHandle
    from waterdrop_py.testing import EmbeddedCluster

SHORT = {"message.timeout.ms": 1_000}
OF_A_CLIENT = 5
"""Threads of librdkafka: its own, one for the bootstrap server and each broker. There
may be more for a moment while it connects."""


def threads() -> int:
    """The number of librdkafka's threads."""
    census = count_resources()
    assert census is not None
    return census.threads


def failed_after(handle: DeliveryHandle, started: float) -> float:
    """Seconds until the delivery timed out."""
    error = handle.exception(BOUND)
    assert isinstance(error, ProduceError)
    assert error.code == "msg_timed_out"
    return time.monotonic() - started


@pytest.mark.parametrize("first", ["producer", "variant"])
@pytest.mark.parametrize(
    "kafka",
    [
        {},
        {"delivery.timeout.ms": 30_000},
        {"default.topic.config": {"message.timeout.ms": 30_000}},
    ],
)
def test_it_takes_effect_on_a_topic_in_use(
    make_producer: MakeProducer, dead: str, first: str, kafka: dict[str, Any]
) -> None:
    """The variant's message times out after its own second, also if the producer used
    the topic first; the producer's message still waits."""
    producer = make_producer(dead, kafka=kafka)
    variant = producer.variant(topic_config=SHORT)
    started = time.monotonic()
    if first == "producer":
        mine = producer.produce_async("t", b"x")
        other = variant.produce_async("t", b"y")
    else:
        other = variant.produce_async("t", b"y")
        mine = producer.produce_async("t", b"x")
    assert 0.9 < failed_after(other, started) < 3.5
    time.sleep(0.2)
    assert not mine.done()
    assert (producer.queue_size, producer.stats().produced) == (1, 1)
    [figures] = producer.stats().variants.values()
    assert (figures.produced, figures.failed, figures.in_flight) == (1, 1, 0)


def test_compression_takes_effect(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A megabyte of zeros is refused as it is, and delivered when compressed."""
    producer = make_producer(kafka={"message.max.bytes": 100_000})
    assert producer.produce_sync(topic, b"before").error is None
    variant = producer.variant(topic_config={"compression.type": "gzip", "acks": 1})
    assert variant.produce_sync(topic, b"\0" * 90_000).error is None
    assert {len(message.value() or b"") for message in cluster.read(topic)} == {
        6,
        90_000,
    }


def test_acks_take_effect(make_producer: MakeProducer, topic: str) -> None:
    """acks=0 has no offset to report; the producer's own messages have one."""
    producer = make_producer()
    assert producer.produce_sync(topic, b"x", partition=0).offset == 0
    variant = producer.variant(topic_config={"acks": 0})
    assert variant.produce_sync(topic, b"y", partition=0).offset is None
    eventually(lambda: False, 0.05)
    assert producer.produce_sync(topic, b"z", partition=0).offset == 2


@pytest.mark.own_process
def test_its_client_is_its_own(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """The variant's client is opened by its first send, shared by equal variants, and
    disconnected when it is idle, with nothing left behind."""
    assert eventually(lambda: threads() == 0)
    producer = make_producer(idle_disconnect_timeout=600)
    variants = [producer.variant(topic_config={"acks": 1}) for _ in range(3)]
    assert threads() == 0
    producer.produce_sync(topic, b"x")
    for variant in variants:
        variant.produce_sync(topic, b"y")
    assert threads() >= 2 * OF_A_CLIENT
    assert len(log.all("producer.connected")) == 2
    log.wait("producer.disconnected", 2)
    assert {e["reason"] for e in log.all("producer.disconnected")} == {"idle"}
    assert {e["producer_id"] for e in log.all("producer.disconnected")} == {producer.id}
    assert threads() == 0
    [figures] = producer.stats().variants.values()
    assert (figures.opens, figures.disconnects) == (1, {"idle": 1})
    variants[2].produce_sync(topic, b"again")
    [figures] = producer.stats().variants.values()
    assert (figures.opens, figures.acknowledged) == (2, 4)
    assert producer.stats().opens == 1


def test_equal_ones_open_once_from_8_threads(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Equal variants that are made and used at one moment share one client."""
    producer = make_producer()

    def use(index: int) -> None:
        variant = producer.variant(topic_config={"acks": 1, "compression.level": 3})
        for _ in range(20):
            variant.produce_sync(topic, b"%d" % index)

    assert in_threads(8, use) == []
    assert len(log.all("producer.connected")) == 1
    [figures] = producer.stats().variants.values()
    assert figures.acknowledged == 160


@pytest.mark.timed
def test_a_patience_of_its_own(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """`max_wait_timeout` bounds every verb that waits, on the producer's own client;
    the producer's own stays as it was."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    impatient = producer.variant(max_wait_timeout=50)
    impatient.buffer(topic, b"x", partition=0)
    cluster.set_rtt(1_200)
    for verb in (
        lambda: impatient.produce_sync(topic, b"x", partition=0),
        lambda: impatient.produce_many_sync([Message(topic, b"x", partition=0)]),
        impatient.flush_buffer_sync,
        lambda: impatient.tombstone_sync(topic, key=b"k", partition=0),
    ):
        started = time.monotonic()
        with pytest.raises(DeliveryTimeoutError):
            verb()
        assert time.monotonic() - started < 1
    assert producer.produce_sync(topic, b"y", partition=0).error is None
    assert producer.stats().opens == 1


def test_threads_never_mix(make_producer: MakeProducer, dead: str) -> None:
    """Each thread's messages have the settings of the variant that sent them."""
    producer = make_producer(dead, kafka={"message.timeout.ms": 60_000})
    senders = [
        producer,
        *(
            producer.variant(topic_config={"message.timeout.ms": ms})
            for ms in (800, 801, 802)
        ),
    ]
    handles: list[list[DeliveryHandle]] = [[] for _ in range(8)]

    def send(index: int) -> None:
        for _ in range(50):
            handles[index].append(senders[index % 4].produce_async("t", b"x"))

    assert in_threads(8, send) == []
    for index, sent in enumerate(handles):
        if index % 4:
            assert all(isinstance(each.exception(BOUND), ProduceError) for each in sent)
    assert not any(handle.done() for index in (0, 4) for handle in handles[index])
    assert producer.stats().produced == 100
    assert [each.produced for each in producer.stats().variants.values()] == [100] * 3


def test_asyncio_tasks_never_mix(make_producer: MakeProducer, dead: str) -> None:
    """The messages of asyncio tasks have the settings of their variants, too."""
    producer = make_producer(dead, kafka={"message.timeout.ms": 60_000})
    variant = producer.variant(topic_config={"message.timeout.ms": 500})

    async def send(sender: Any) -> list[DeliveryHandle]:
        handles = []
        for _ in range(20):
            handles.append(sender.produce_async("t", b"x"))
            await asyncio.sleep(0)
        return handles

    async def both() -> tuple[list[DeliveryHandle], list[DeliveryHandle]]:
        return await asyncio.gather(send(producer), send(variant))

    mine, others = asyncio.run(both())
    assert all(isinstance(each.exception(BOUND), ProduceError) for each in others)
    assert not any(handle.done() for handle in mine)


def test_nested_use(make_producer: MakeProducer, dead: str) -> None:
    """A variant's middleware and callbacks that send with the producer, or with
    another variant, use those."""
    producer = make_producer(dead, kafka={"message.timeout.ms": 60_000})
    variant = producer.variant(topic_config={"message.timeout.ms": 300})
    inner: list[DeliveryHandle] = []

    def step(message: Message) -> Message:
        if message.payload == b"outer":
            inner.append(producer.produce_async("t", b"inner"))
        return message

    producer.middleware.append(step)
    outer = variant.produce_async("t", b"outer")
    outer.add_done_callback(
        lambda _: inner.append(producer.produce_async("t", b"inner"))
    )
    assert isinstance(outer.exception(BOUND), ProduceError)
    assert eventually(lambda: len(inner) == 2)
    time.sleep(0.5)
    assert not any(handle.done() for handle in inner)


@pytest.mark.own_process
def test_closed_with_the_producer(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """A close delivers and counts the messages of variants, which refuse afterwards."""
    producer = make_producer(kafka={"linger.ms": 10_000})
    variants = [producer.variant(topic_config={"acks": n}) for n in (0, 1)]
    for sender in (producer, *variants):
        for n in range(10):
            sender.produce_async(topic, b"%d" % n)
    report = producer.close()
    assert (report.delivered, report.undelivered, report.complete) == (30, [], True)
    assert len(log.all("producer.disconnected")) == 3
    assert threads() == 0
    for variant in variants:
        with pytest.raises(ProducerClosedError):
            variant.produce_async(topic, b"x")
    assert len(cluster.read(topic)) == 30


@pytest.mark.timed
def test_the_close_is_bounded_for_all_of_them(
    make_producer: MakeProducer, dead: str
) -> None:
    """A close takes timeout + 0.5 s in all, however many clients cannot deliver."""
    producer = make_producer(dead)
    senders = [
        producer,
        *(producer.variant(topic_config={"acks": n}) for n in (0, 1, -1)),
    ]
    for index, sender in enumerate(senders):
        for n in range(5):
            sender.produce_async("t", b"x", label=(index, n))
        sender.buffer("t", b"x", label=(index, 5))
    started = time.monotonic()
    report = producer.close(0.5)
    assert time.monotonic() - started < 1
    assert report.complete
    assert [message.label for message in report.undelivered] == [
        (index, n) for index in range(4) for n in range(6)
    ]


def test_idempotent_producers_have_variants(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """An idempotent producer has variants for everything but acks."""
    producer = make_producer(kafka={"enable.idempotence": True})
    variant = producer.variant(topic_config={"compression.type": "gzip"})
    assert producer.produce_sync(topic, b"x", partition=0).offset == 0
    assert variant.produce_sync(topic, b"y", partition=0).offset == 1
    assert len(cluster.read(topic)) == 2


def test_statistics_and_subscribers(make_producer: MakeProducer, topic: str) -> None:
    """A variant's events are the producer's: a later subscriber gets them."""
    producer = make_producer()
    variant = producer.variant(topic_config={"acks": 1})
    variant.produce_sync(topic, b"silent")
    heard: list[Any] = []
    producer.monitor.subscribe("message.acknowledged", heard.append)
    variant.produce_sync(topic, b"heard")
    assert [event["message"].payload for event in heard] == [b"heard"]
