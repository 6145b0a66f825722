"""An idle producer holds nothing at a real broker, and is back when it is needed."""

from __future__ import annotations

import time

import pytest

from tests.kafka.harness import CLIENT_LISTENERS, ClientListener, KafkaCluster
from waterdrop_py import Event, Message, Producer, Status
from waterdrop_py.testing import allow_short_idle_timeouts

IDLE_MS = 200


def idle_producer(cluster: KafkaCluster, kind: ClientListener) -> Producer:
    """A producer that disconnects after 200 ms."""
    with allow_short_idle_timeouts():
        return Producer(
            kafka={**cluster.client_properties(kind), "linger.ms": 0},
            idle_disconnect_timeout=IDLE_MS,
        )


def connections_at_each_close(
    producer: Producer, cluster: KafkaCluster, kind: ClientListener
) -> list[int]:
    """A list to which the brokers' connections are added just before each close.

    Looking from the test itself would race with the idle timeout: three brokers'
    descriptors take a loaded machine more than 100 ms to list.
    """
    seen: list[int] = []

    @producer.monitor.on("producer.disconnecting")
    def look(_: Event) -> None:
        seen.append(len(cluster.connections(kind)))

    return seen


def wait_until_disconnected(producer: Producer, cluster: KafkaCluster) -> None:
    """Wait until both sides say so: the producer, and the brokers."""
    deadline = time.monotonic() + 5.0
    while producer.status is not Status.DISCONNECTED:
        assert time.monotonic() < deadline, f"still {producer.status}"
        time.sleep(0.005)
    cluster.wait_for_connections(0)


@pytest.mark.parametrize("kind", CLIENT_LISTENERS)
def test_idle_is_zero_connections_and_waking_delivers(
    kafka: KafkaCluster, topic: str, kind: ClientListener
) -> None:
    """The broker sees us, then nobody, and stores the first message after waking."""
    with idle_producer(kafka, kind) as producer:
        seen = connections_at_each_close(producer, kafka, kind)
        producer.produce_sync(topic, b"before")
        wait_until_disconnected(producer, kafka)
        assert seen == [1]
        assert producer.produce_sync(topic, b"after").offset == 1
        wait_until_disconnected(producer, kafka)
        assert seen == [1, 1]
        assert producer.stats().opens == 2
        assert producer.stats().disconnects == {"idle": 2}
    assert [each.value() for each in kafka.read_topic(topic)] == [b"before", b"after"]


def test_nobody_dials_while_idle(kafka: KafkaCluster, topic: str) -> None:
    """Once disconnected, no connection comes back by itself within ten idle times."""
    with idle_producer(kafka, "PLAINTEXT") as producer:
        producer.produce_sync(topic, b"payload")
        wait_until_disconnected(producer, kafka)
        until = time.monotonic() + 10 * IDLE_MS / 1000
        while time.monotonic() < until:
            assert kafka.connections() == []
            time.sleep(0.01)


def test_three_brokers_see_nobody_either(kafka_cluster: KafkaCluster) -> None:
    """The connections to every broker of a cluster go, and all partitions wake."""
    topic = kafka_cluster.create_topic("idle-on-three", 3)
    with idle_producer(kafka_cluster, "PLAINTEXT") as producer:
        seen = connections_at_each_close(producer, kafka_cluster, "PLAINTEXT")
        for payload in (b"before", b"after"):
            producer.produce_many_sync(
                Message(topic, payload, partition=partition) for partition in range(3)
            )
            wait_until_disconnected(producer, kafka_cluster)
    assert seen == [3, 3]
    stored = [each.value() for each in kafka_cluster.read_topic(topic)]
    assert stored == [b"before", b"after"] * 3
