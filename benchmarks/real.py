"""Starts a real Apache Kafka, the one of `make test-kafka`, to measure on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.setting import Broker
from tests.kafka.harness import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

PROPERTIES = {"auto.create.topics.enable": "true", "num.partitions": "4"}


@contextmanager
def listeners() -> Iterator[list[Broker]]:
    """The listeners of one broker: plaintext, and TLS with SCRAM."""
    with KafkaCluster(1, properties=PROPERTIES) as cluster:
        yield [
            Broker(cluster.client_properties("PLAINTEXT"), "Kafka, plaintext"),
            Broker(cluster.client_properties("SASL_SSL"), "Kafka, TLS and SCRAM"),
        ]
