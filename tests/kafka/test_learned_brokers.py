"""A producer that sleeps finds its cluster again, whichever brokers are gone then."""

from __future__ import annotations

import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.kafka.harness import KafkaCluster
from waterdrop_py import Producer, Status
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py.typing import KafkaClient

IDLE_MS = 1_000
NODES = (1, 2, 3)


@pytest.fixture(scope="module")
def moving() -> Iterator[KafkaCluster]:
    """Three nodes, which the test may give other addresses."""
    with closing(KafkaCluster(3).start()) as cluster:
        yield cluster


@pytest.fixture
def topic(moving: KafkaCluster) -> str:
    """A fresh topic with three partitions, one led by each node."""
    return moving.create_topic(f"moving-{uuid.uuid4().hex[:12]}", 3)


def sleeper(cluster: KafkaCluster) -> Producer:
    """A producer that is told of the first node only, and disconnects after 1 s."""
    first = cluster.bootstrap().split(",")[0]
    with allow_short_idle_timeouts():
        return Producer(
            kafka={
                "bootstrap.servers": first,
                "linger.ms": 0,
                "message.timeout.ms": 30_000,
            },
            idle_disconnect_timeout=IDLE_MS,
        )


def send(producer: Producer, topic: str) -> None:
    """A message to each partition."""
    for partition in range(3):
        producer.produce_sync(topic, b"x", partition=partition)


def until_asleep(producer: Producer) -> None:
    """Wait until the client is closed."""
    deadline = time.monotonic() + 10
    while producer.status is not Status.DISCONNECTED:
        assert time.monotonic() < deadline, producer.explain_idle()
        time.sleep(0.01)


def test_one_of_three_is_down_at_each_wake_up(moving: KafkaCluster, topic: str) -> None:
    """Also the one that `bootstrap.servers` names."""
    with sleeper(moving) as producer:
        send(producer, topic)
        for node in NODES:
            until_asleep(producer)
            moving.stop(node)
            try:
                send(producer, topic)
            finally:
                moving.restart(node)
        assert producer.stats().opens == 4
    assert len(moving.read_topic(topic)) == 12


def test_every_broker_is_replaced_while_it_sleeps(
    moving: KafkaCluster, topic: str
) -> None:
    """One by one, each at another address: in the end none of those that it was told
    of, or learned at first, is left, and every message arrives."""
    before = set(moving.bootstrap().split(","))
    with sleeper(moving) as producer:
        send(producer, topic)
        for node in NODES:
            until_asleep(producer)
            moving.move(node)
            send(producer, topic)
        assert producer.stats().opens == 4
        assert before.isdisjoint(moving.bootstrap().split(","))
    assert len(moving.read_topic(topic)) == 12


def test_what_native_shows_is_only_the_cluster(
    moving: KafkaCluster, topic: str
) -> None:
    """What was learned adds no connection: a client that wakes up has no more of them
    than its first one had."""
    with sleeper(moving) as producer:
        send(producer, topic)
        first = len(moving.connections("PLAINTEXT"))
        until_asleep(producer)
        send(producer, topic)
        assert len(moving.connections("PLAINTEXT")) <= first

        def nodes(client: KafkaClient) -> set[int]:
            return set(client.list_topics(topic, timeout=5).brokers)

        with producer.native() as client:
            assert nodes(client) == set(NODES)
