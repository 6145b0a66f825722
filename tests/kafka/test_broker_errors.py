"""What a real broker refuses arrives as the library's own error."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from waterdrop_py import Producer
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster

CASES = {
    "msg_size_too_large": ({"max.message.bytes": "200"}, os.urandom(1000), None),
    "invalid_timestamp": ({"message.timestamp.before.max.ms": "60000"}, b"payload", 1),
}


def producer_for(cluster: KafkaCluster) -> Producer:
    """A plain producer that learns soon that a topic does not exist."""
    # librdkafka waits for 30 s for a topic that it has not heard of.
    patience = {"topic.metadata.propagation.max.ms": 300}
    return Producer(kafka={**cluster.client_properties(), "linger.ms": 0, **patience})


@pytest.mark.parametrize("code", CASES)
def test_a_refused_message_is_a_produce_error(kafka: KafkaCluster, code: str) -> None:
    """Sync and async say the broker's code; the producer goes on; nothing is stored."""
    config, payload, timestamp = CASES[code]
    topic = kafka.create_topic(f"refusing-{uuid.uuid4().hex[:12]}", config=config)
    with producer_for(kafka) as producer:
        with pytest.raises(ProduceError) as caught:
            producer.produce_sync(topic, payload, timestamp=timestamp)
        assert_refused(caught.value, code)
        handle = producer.produce_async(topic, payload, timestamp=timestamp)
        error = handle.exception(10)
        assert isinstance(error, ProduceError)
        assert_refused(error, code)
        producer.produce_sync(topic, b"fits")
        assert producer.stats().failed == 2
    assert [each.value() for each in kafka.read_topic(topic)] == [b"fits"]


def test_an_unknown_topic_is_a_produce_error(kafka: KafkaCluster) -> None:
    """A topic that does not exist, and is not created by use, is named as the cause."""
    with producer_for(kafka) as producer:
        with pytest.raises(ProduceError) as caught:
            producer.produce_sync(f"unknown-{uuid.uuid4().hex[:12]}", b"payload")
        assert_refused(caught.value, "unknown_topic_or_part")


def assert_refused(error: ProduceError, code: str) -> None:
    """The error has the broker's code, and what confluent-kafka said as its cause."""
    assert error.code == code
    assert not error.retriable
    assert not error.fatal
    assert isinstance(error.__cause__, KafkaException)
    native = error.__cause__.args[0]
    assert isinstance(native, KafkaError)
    assert native.name().lower() == code
