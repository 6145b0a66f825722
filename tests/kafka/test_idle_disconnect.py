"""An idle producer holds nothing at a real broker, and is back when it is needed."""

from __future__ import annotations

import time

import pytest

from tests.kafka.harness import CLIENT_LISTENERS, ClientListener, KafkaCluster
from waterdrop_py import Producer, Status
from waterdrop_py.testing import allow_short_idle_timeouts

IDLE_MS = 200


def idle_producer(cluster: KafkaCluster, kind: ClientListener) -> Producer:
    """A producer that disconnects after 200 ms."""
    with allow_short_idle_timeouts():
        return Producer(
            kafka={**cluster.client_properties(kind), "linger.ms": 0},
            idle_disconnect_timeout=IDLE_MS,
        )


@pytest.mark.parametrize("kind", CLIENT_LISTENERS)
def test_idle_is_zero_connections_and_waking_delivers(
    kafka: KafkaCluster, topic: str, kind: ClientListener
) -> None:
    """The broker sees us, then nobody, and stores the first message after waking."""
    with idle_producer(kafka, kind) as producer:
        producer.produce_sync(topic, b"before")
        assert len(kafka.connections(kind)) == 1
        kafka.wait_for_connections(0)
        # The broker sees the end of the connections before the close has returned.
        wait_for_status(producer, Status.DISCONNECTED)
        report = producer.produce_sync(topic, b"after")
        assert report.offset == 1
        kafka.wait_for_connections(0)
        wait_for_status(producer, Status.DISCONNECTED)
        assert producer.stats().opens == 2
        assert producer.stats().disconnects == {"idle": 2}
    assert [each.value() for each in kafka.read_topic(topic)] == [b"before", b"after"]


def test_nobody_dials_while_idle(kafka: KafkaCluster, topic: str) -> None:
    """Once disconnected, no connection comes back by itself within ten idle times."""
    with idle_producer(kafka, "PLAINTEXT") as producer:
        producer.produce_sync(topic, b"payload")
        kafka.wait_for_connections(0)
        until = time.monotonic() + 10 * IDLE_MS / 1000
        while time.monotonic() < until:
            assert kafka.connections() == []
            time.sleep(0.01)


def test_three_brokers_see_nobody_either(kafka_cluster: KafkaCluster) -> None:
    """Leader and bootstrap connections to every broker of a cluster are gone."""
    topic = kafka_cluster.create_topic("idle-on-three", 3)
    with idle_producer(kafka_cluster, "PLAINTEXT") as producer:
        for partition in range(3):
            producer.produce_sync(topic, b"before", partition=partition)
        assert len(kafka_cluster.connections()) == 3
        kafka_cluster.wait_for_connections(0)
        for partition in range(3):
            producer.produce_sync(topic, b"after", partition=partition)
    stored = [each.value() for each in kafka_cluster.read_topic(topic)]
    assert stored == [b"before", b"after"] * 3


def wait_for_status(producer: Producer, status: Status) -> None:
    """Wait until the producer has that status, for at most 2 s."""
    deadline = time.monotonic() + 2.0
    while producer.status is not status:
        assert time.monotonic() < deadline, f"{producer.status}, not {status}"
        time.sleep(0.005)
