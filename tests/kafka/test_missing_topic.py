"""A topic that is not there, on a broker that creates none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kafka.harness import KafkaCluster
from waterdrop_py import Producer
from waterdrop_py.errors import DeliveryTimeoutError, ProduceError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def strict() -> Iterator[KafkaCluster]:
    """A broker that creates no topics."""
    with KafkaCluster(properties={"auto.create.topics.enable": "false"}) as cluster:
        yield cluster


def test_the_error_says_that_the_topic_does_not_exist(strict: KafkaCluster) -> None:
    """librdkafka says no more than that the message timed out. The error names the
    topic, the nearest one that was sent to, and what would create it; a wait that ends
    before asks whether the topic exists."""
    strict.create_topic("orders")
    kafka = {**strict.client_properties(), "message.timeout.ms": 2_000}
    with Producer(kafka=kafka) as producer:
        producer.produce_sync("orders", b"x")
        with pytest.raises(DeliveryTimeoutError) as early:
            producer.produce_sync("ordres", b"x", timeout=0.5)
        with pytest.raises(ProduceError) as caught:
            producer.produce_sync("ordres", b"x", key="k")
        assert producer.produce_sync("orders", b"y").error is None
    assert any("'ordres'; did you mean" in each for each in early.value.checklist)
    assert caught.value.code == "msg_timed_out"
    text = str(caught.value)
    assert text.startswith("'ordres' (key 'k'): Local: Message timed out")
    assert "topic 'ordres' does not exist; did you mean 'orders'?" in text
    assert "message.timeout.ms is 2000 (kafka)" in text
    assert "auto.create.topics.enable" in text
