"""Topics that are deleted, created again, or grow, while a producer knows their counts;
and what a probe does to a broker that creates topics by use."""

from __future__ import annotations

import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from tests.kafka.harness import KafkaCluster
from waterdrop_py import Message, Producer
from waterdrop_py._engine.process.resources import count_resources
from waterdrop_py.errors import BrokerUnreachableError, ProduceError
from waterdrop_py.testing import FakeClock, allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py import DeliveryHandle

BOUND = 30.0
SENDS = 40


@pytest.fixture
def admin(kafka: KafkaCluster) -> AdminClient:
    """On the internal listener, whose connections nobody counts."""
    return AdminClient({"bootstrap.servers": kafka.bootstrap("INTERNAL")})


@pytest.fixture
def producer(kafka: KafkaCluster) -> Iterator[Producer]:
    """One that learns soon that a topic does not exist."""
    settings = {"linger.ms": 0, "topic.metadata.propagation.max.ms": 1000}
    with Producer(kafka={**kafka.client_properties(), **settings}) as producer:
        yield producer


def recreate(kafka: KafkaCluster, admin: AdminClient, topic: str, count: int) -> None:
    """Delete a topic, wait until it is gone, and create it with `count` partitions."""
    admin.delete_topics([topic])[topic].result(BOUND)
    deadline = time.monotonic() + BOUND
    while topic in admin.list_topics(timeout=BOUND).topics:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kafka.create_topic(topic, count)


def send(producer: Producer, message: Message) -> DeliveryHandle:
    """Send it, without the wait."""
    return producer.produce_async(
        message.topic, message.payload, partition_key=message.partition_key
    )


def grow(admin: AdminClient, topic: str, count: int) -> None:
    """Give a topic more partitions, and wait until the broker knows them."""
    admin.create_partitions([NewPartitions(topic, count)])[topic].result(BOUND)
    deadline = time.monotonic() + BOUND
    while len(admin.list_topics(topic, timeout=BOUND).topics[topic].partitions) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("verb", ["sync", "async", "many", "buffer", "reopened"])
def test_a_topic_created_again_with_fewer_partitions(
    kafka: KafkaCluster, admin: AdminClient, producer: Producer, verb: str
) -> None:
    """Every message with a partition key is delivered, once, by each verb that sends,
    and on a client that is opened anew."""
    topic = kafka.create_topic(f"again-{uuid.uuid4().hex[:12]}", 6)
    assert producer.partition_count(topic) == 6
    producer.produce_sync(topic, b"before", partition_key="customer")
    recreate(kafka, admin, topic, 2)
    if verb == "reopened":
        assert producer.disconnect()
    batch = [
        Message(topic, b"%d" % n, partition_key=f"customer-{n}") for n in range(SENDS)
    ]
    if verb == "many":
        producer.produce_many_sync(batch)
    elif verb == "buffer":
        producer.buffer_many(batch)
        producer.flush_buffer_sync()
    elif verb == "async":
        for handle in [send(producer, each) for each in batch]:
            assert handle.result(BOUND).error is None
    else:
        for each in batch:
            assert send(producer, each).result(BOUND).partition in {0, 1}
    arrived = [message.value() or b"" for message in kafka.read_topic(topic)]
    assert sorted(arrived) == sorted(b"%d" % n for n in range(SENDS))
    assert producer.partition_count(topic) == 2
    stats = producer.stats()
    assert (stats.produced, stats.acknowledged) == (SENDS + 1, SENDS + 1)
    assert stats.failed == 0


def test_a_topic_that_grows(
    kafka: KafkaCluster, admin: AdminClient, producer: Producer
) -> None:
    """After 5 minutes the new partitions are used; an explicit one is asked for before
    it is refused."""
    topic = kafka.create_topic(f"grown-{uuid.uuid4().hex[:12]}", 2)
    with FakeClock() as clock:
        assert producer.partition_count(topic) == 2
        grow(admin, topic, 6)
        assert producer.produce_sync(topic, b"x", partition=5).partition == 5
        with pytest.raises(ProduceError) as raised:
            producer.produce_sync(topic, b"x", partition=6)
        assert raised.value.code == "unknown_partition"
        assert producer.partition_count(topic) == 6
        grow(admin, topic, 9)
        clock.advance(301)
        deadline = time.monotonic() + BOUND
        while producer.partition_count(topic) != 9:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    used = {
        producer.produce_sync(topic, b"x", partition_key=f"k{n}").partition
        for n in range(SENDS)
    }
    assert max(partition or 0 for partition in used) > 5


def test_a_topic_that_is_missing_and_comes(
    kafka: KafkaCluster, producer: Producer
) -> None:
    """The first call takes 5 s at most, those within 2 s behind it no time, and the one
    after that finds it."""
    topic = f"late-{uuid.uuid4().hex[:12]}"
    took = []
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(ProduceError, match=topic):
            producer.produce_async(topic, b"x", partition_key="k")
        took.append(time.monotonic() - started)
    assert took[0] < 5.5
    assert max(took[1:]) < 0.2
    kafka.create_topic(topic, 2)
    time.sleep(2)
    assert producer.produce_sync(topic, b"x", partition_key="k").error is None


def test_an_idle_client_that_is_opened_again(
    kafka: KafkaCluster, admin: AdminClient
) -> None:
    """Closed when idle, its topic created again with fewer: the next send arrives."""
    topic = kafka.create_topic(f"idle-{uuid.uuid4().hex[:12]}", 6)
    with allow_short_idle_timeouts():
        producer = Producer(
            kafka={**kafka.client_properties(), "linger.ms": 0},
            idle_disconnect_timeout=200,
        )
    with producer:
        for n in range(6):
            producer.produce_sync(topic, b"x", partition_key=f"k{n}")
        deadline = time.monotonic() + BOUND
        while producer.is_connected:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        recreate(kafka, admin, topic, 1)
        for n in range(6):
            report = producer.produce_sync(topic, b"x", partition_key=f"k{n}")
            assert report.partition == 0


def test_a_probe_creates_no_topic() -> None:
    """Where the broker creates topics by use, and the client allows it."""
    properties = {"auto.create.topics.enable": "true"}
    with closing(KafkaCluster(1, properties=properties).start()) as kafka:
        settings = {**kafka.client_properties(), "allow.auto.create.topics": True}
        asking = AdminClient({"bootstrap.servers": kafka.bootstrap("INTERNAL")})
        with Producer(kafka={**settings, "linger.ms": 0}) as producer:
            assert producer.connect(BOUND) is producer
            assert producer.health(deep=True, timeout=BOUND).healthy
            assert not asking.list_topics(timeout=BOUND).topics
            assert producer.produce_sync("made", b"x", timeout=BOUND).error is None
            assert producer.connect(BOUND) is producer
            assert list(asking.list_topics(timeout=BOUND).topics) == ["made"]


def librdkafka_threads() -> int:
    """The threads of all clients in this process."""
    count = count_resources()
    assert count is not None
    return count.threads


@pytest.mark.parametrize("listener", ["SASL_SSL", "SSL"])
def test_what_no_retry_mends_ends_connect_at_once(
    kafka: KafkaCluster, listener: str
) -> None:
    """A wrong password, and a certificate that is not trusted."""
    before = librdkafka_threads()
    settings = dict(kafka.client_properties(listener))  # type: ignore[arg-type]
    if listener == "SSL":
        settings["ssl.ca.location"] = str(kafka.certificates.stranger)
    else:
        settings["sasl.password"] = "wrong"
    with Producer(kafka=settings) as producer:
        started = time.monotonic()
        with pytest.raises(BrokerUnreachableError) as raised:
            producer.connect(BOUND)
        assert time.monotonic() - started < 5
        assert not raised.value.retriable
    # librdkafka goes on asking for the metadata, for at most 30 s, and its client stays
    # for so long. The tests that count connections need a cluster without any.
    deadline = time.monotonic() + 60
    while librdkafka_threads() > before:
        assert time.monotonic() < deadline, "the client stays"
        time.sleep(0.1)
