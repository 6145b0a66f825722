"""A slow broker is not an absent one; and a probe costs one topic's metadata."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest

from tests.embedded.support import BOUND, eventually
from waterdrop_py.errors import BrokerUnreachableError, ProduceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

RTT = 0.7
"""Seconds: longer than the 0.5 s that native calls were cut into."""


@pytest.fixture
def slow(cluster: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """The cluster, with RTT for each answer."""
    cluster.set_rtt(int(RTT * 1000))
    yield cluster
    cluster.set_rtt(0)


class Recorder(confluent_kafka.Producer):
    """Notes what it is asked for."""

    asked: list[str | None]

    def __init__(self, conf: dict[str, Any]) -> None:
        super().__init__(conf)
        self.asked = []
        CLIENTS.append(self)

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Note it, and ask."""
        self.asked.append(topic)
        return super().list_topics(topic, timeout=timeout)


CLIENTS: list[Recorder] = []


def test_connect_waits_for_a_slow_answer(
    slow: EmbeddedCluster, make_producer: MakeProducer, log: EventLog
) -> None:
    """In one try, with one request, and on one client although its idle timeout is
    shorter than the answer takes."""
    CLIENTS.clear()
    producer = make_producer(client_factory=Recorder, idle_disconnect_timeout=300)
    retries: list[BaseException] = []
    producer.connect(BOUND, errback=lambda error, _: retries.append(error))
    assert not retries
    assert sum(len(client.asked) for client in CLIENTS) == 1
    assert producer.stats().opens == 1
    assert eventually(lambda: not producer.is_connected)
    assert "producer.disconnect_refused" in log.names()


@pytest.mark.timed
def test_a_deep_check_takes_one_round_trip(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """On an open client, however long that is."""
    producer = make_producer()
    producer.produce_sync(topic, b"x", partition=0)
    cluster.set_rtt(1600)
    health = producer.health(deep=True, timeout=BOUND)
    cluster.set_rtt(0)
    assert health.healthy
    assert health.latency_ms is not None
    assert 1500 < health.latency_ms < 2400


def test_a_first_look_up_waits_for_a_slow_answer(
    slow: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A partition key finds its partition."""
    producer = make_producer()
    report = producer.produce_sync(topic, b"x", partition_key="k", timeout=BOUND)
    assert report.error is None
    assert producer.partition_count(topic) == 3


@pytest.mark.timed
def test_a_look_up_that_was_left_is_learned_from(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A sync call that has less time than a round trip fails within it; the answer that
    comes later serves the next one."""
    producer = make_producer()
    producer.produce_sync(topic, b"x", partition=0)
    cluster.set_rtt(800)
    started = time.monotonic()
    with pytest.raises(ProduceError):
        producer.produce_sync(topic, b"x", partition_key="k", timeout=0.2)
    assert time.monotonic() - started < 0.7
    assert eventually(lambda: producer._connection.partitions.count(topic) == 3)  # noqa: SLF001


def test_one_topic_at_most_is_asked_for(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """The one last sent to; before any, a name that no cluster has or creates. Never
    all of them."""
    CLIENTS.clear()
    producer = make_producer(client_factory=Recorder)
    asking = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap_servers})
    before = set(asking.list_topics(timeout=BOUND).topics)
    producer.connect(BOUND)
    assert producer.health(deep=True, timeout=BOUND).healthy
    assert set(asking.list_topics(timeout=BOUND).topics) == before
    producer.produce_sync(topic, b"x")
    producer.connect(BOUND)
    assert CLIENTS[0].asked == ["waterdrop py?", "waterdrop py?", topic]


def test_one_broker_of_three_that_is_down_ends_no_try(
    cluster: EmbeddedCluster, make_producer: MakeProducer
) -> None:
    """librdkafka reports it, and the others answer."""
    for number in (1, 2):
        cluster.broker_down(number)
    try:
        assert make_producer().connect(BOUND, max_retries=0).is_connected
    finally:
        cluster.heal()


@pytest.mark.timed
def test_a_try_ends_with_what_is_reported(
    make_producer: MakeProducer, dead: str
) -> None:
    """Nothing listens there, and that is known at once; another try may help."""
    started = time.monotonic()
    with pytest.raises(BrokerUnreachableError, match="refused") as raised:
        make_producer(dead).connect(60, max_retries=0)
    assert time.monotonic() - started < 2
    assert raised.value.retriable


def test_an_error_of_the_brokers_is_unhealthy_while_messages_wait(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Of a shallow check: only while something is un-acknowledged, and until the next
    success, also where no report is looked at."""
    producer = make_producer(kafka={"reconnect.backoff.max.ms": 100})
    producer.produce_sync(topic, b"x", partition=0)
    for broker in cluster.brokers:
        cluster.broker_down(broker.id)
    assert producer.health().healthy
    handle = producer.produce_async(topic, b"y", partition=0)
    assert eventually(lambda: not producer.health().healthy)
    assert producer.health().error is not None
    cluster.heal()
    assert handle.result(BOUND).error is None
    assert producer.health().healthy
    assert producer._connection.reports.diagnosis.newest is None  # noqa: SLF001
