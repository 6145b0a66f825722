"""A broker that is not there, or does not answer, is said within the timeout."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.kafka.harness import KafkaCluster, free_port
from waterdrop_py import Producer
from waterdrop_py.errors import BrokerUnreachableError, ProduceError

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 2.0


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block takes at most that long, and half a second."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started <= seconds + 0.5


def test_a_dead_port_is_said_within_the_timeout() -> None:
    """`connect` fails in time and asks what one would look at first."""
    servers = f"127.0.0.1:{free_port()}"
    with (
        Producer(kafka={"bootstrap.servers": servers}) as producer,
        within(TIMEOUT),
        pytest.raises(BrokerUnreachableError) as caught,
    ):
        producer.connect(timeout=TIMEOUT)
    checklist = "\n".join(caught.value.checklist)
    assert "refused" in checklist
    assert "running" in checklist
    assert "advertised.listeners" in checklist
    assert servers in checklist
    assert checklist.splitlines()[0] in str(caught.value)


def test_a_message_to_a_dead_port_fails_within_the_timeout() -> None:
    """`produce_sync` gives up in time, with the same advice; closing is bounded too."""
    servers = f"127.0.0.1:{free_port()}"
    producer = Producer(kafka={"bootstrap.servers": servers})
    with within(TIMEOUT), pytest.raises(ProduceError) as caught:
        producer.produce_sync("topic", b"payload", timeout=TIMEOUT)
    assert any("refused" in point for point in caught.value.checklist)
    with within(1.0):
        report = producer.close(timeout=1.0)
    assert (report.delivered, report.failed) == (0, 0)
    assert [message.payload for message in report.undelivered] == [b"payload"]


def test_a_broker_that_hangs_is_said_within_the_timeout(
    kafka: KafkaCluster, topic: str
) -> None:
    """A stopped process accepts connections and answers nothing; it is back later."""
    with Producer(kafka=kafka.client_properties()) as producer:
        kafka.pause(1)
        try:
            with (
                within(TIMEOUT),
                pytest.raises(BrokerUnreachableError, match="no answer"),
            ):
                producer.connect(timeout=TIMEOUT)
        finally:
            kafka.resume(1)
        producer.connect(timeout=20)
        producer.produce_sync(topic, b"payload", timeout=20)
    assert [each.value() for each in kafka.read_topic(topic)] == [b"payload"]


def test_a_broker_that_died_and_came_back_is_used_again(
    kafka: KafkaCluster, topic: str
) -> None:
    """A broker killed under an open producer is said, and used once it is back."""
    with Producer(kafka=kafka.client_properties()) as producer:
        producer.produce_sync(topic, b"before")
        kafka.kill(1)
        try:
            with pytest.raises(BrokerUnreachableError), within(TIMEOUT):
                producer.connect(timeout=TIMEOUT)
        finally:
            kafka.restart(1)
        producer.produce_sync(topic, b"after", timeout=20)
    assert [each.value() for each in kafka.read_topic(topic)] == [b"before", b"after"]
