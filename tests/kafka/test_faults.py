"""Brokers die, hang, and change roles under traffic that idles: nothing is lost.

Every producer is disconnected for idleness, and wakes up, while a broker is missing or
after it is back. Each message that was acknowledged is read back exactly once, each
that was not has an error, and none is without an outcome.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.kafka.traffic import Traffic, assert_all_accounted_for

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster

NODES = (1, 2, 3)
PAUSE_SECONDS = 20.0


@pytest.fixture
def topic(kafka_cluster: KafkaCluster) -> str:
    """A fresh topic with six partitions, two led by each of the three nodes."""
    return kafka_cluster.create_topic(f"faults-{uuid.uuid4().hex[:12]}", 6)


def test_brokers_killed_in_turn(kafka_cluster: KafkaCluster, topic: str) -> None:
    """SIGKILL and restart of each broker, one after the other, lose nothing."""
    with Traffic(kafka_cluster, topic) as traffic:
        traffic.wait_for(100)
        for node in NODES:
            kafka_cluster.kill(node)
            try:
                traffic.wait_for(50)
                traffic.rest()
            finally:
                kafka_cluster.restart(node)
            traffic.wait_for(50)
    assert traffic.failed == {}
    assert_all_accounted_for(traffic, kafka_cluster, topic)


def test_a_broker_that_hangs_for_twenty_seconds(
    kafka_cluster: KafkaCluster, topic: str
) -> None:
    """A stopped leader is led around, and its late answers double nothing."""
    with Traffic(kafka_cluster, topic) as traffic:
        traffic.wait_for(100)
        kafka_cluster.pause(2)
        try:
            started = time.monotonic()
            traffic.wait_for(50)
            traffic.rest()
            time.sleep(max(0.0, PAUSE_SECONDS - (time.monotonic() - started)))
        finally:
            kafka_cluster.resume(2)
        kafka_cluster.wait_until_ready()
        traffic.wait_for(100)
        traffic.rest()
    assert traffic.failed == {}
    assert_all_accounted_for(traffic, kafka_cluster, topic)


def test_leaders_move(kafka_cluster: KafkaCluster, topic: str) -> None:
    """Leaders that leave in good order, and come back by election, lose nothing."""
    with Traffic(kafka_cluster, topic) as traffic:
        traffic.wait_for(100)
        for node in NODES[:2]:
            before = kafka_cluster.leaders(topic)
            assert node in before.values()
            kafka_cluster.stop(node)
            traffic.wait_for(50)
            assert node not in kafka_cluster.leaders(topic).values()
            traffic.rest()
            kafka_cluster.restart(node)
            kafka_cluster.elect_preferred_leaders(topic)
            assert kafka_cluster.leaders(topic) == before
            traffic.wait_for(50)
            traffic.rest()
    assert traffic.failed == {}
    assert_all_accounted_for(traffic, kafka_cluster, topic)


def test_a_full_restart(kafka_cluster: KafkaCluster, topic: str) -> None:
    """All brokers gone at once, and back: what was accepted arrives, once."""
    with Traffic(kafka_cluster, topic) as traffic:
        traffic.wait_for(100)
        for node in NODES:
            kafka_cluster.kill(node)
        kafka_cluster.restart(*NODES)
        traffic.wait_for(100)
        traffic.rest()
    assert traffic.failed == {}
    assert_all_accounted_for(traffic, kafka_cluster, topic)


def test_an_outage_longer_than_patience(
    kafka_cluster: KafkaCluster, topic: str
) -> None:
    """Messages that wait longer than they may fail by name, and are stored once at
    the most; the same producers deliver again afterwards."""
    with Traffic(kafka_cluster, topic, message_timeout_ms=2_000) as traffic:
        traffic.wait_for(100)
        for node in NODES:
            kafka_cluster.kill(node)
        time.sleep(3.0)
        kafka_cluster.restart(*NODES)
        traffic.wait_for(100)
    assert {error.code for error in traffic.failed.values()} == {"msg_timed_out"}
    assert all(error.checklist for error in traffic.failed.values())
    assert_all_accounted_for(traffic, kafka_cluster, topic)
