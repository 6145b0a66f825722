"""A real Apache Kafka: the one that `make test-kafka` starts."""

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
    """One node; the same broker, reached in plaintext and by TLS with SCRAM."""
    with KafkaCluster(1, properties=PROPERTIES) as cluster:
        yield [
            Broker(cluster.client_properties("PLAINTEXT"), "Kafka, plaintext"),
            Broker(cluster.client_properties("SASL_SSL"), "Kafka, TLS and SCRAM"),
        ]
