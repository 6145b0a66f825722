"""Fixtures for tests that send to Kafka. waterdrop-py's pytest plugin has two more."""

import uuid
from collections.abc import Iterator

import pytest

from waterdrop_py import Producer
from waterdrop_py.testing import BufferedClient, EmbeddedCluster


@pytest.fixture
def kafka() -> BufferedClient:
    """A double in place of librdkafka: fast, without threads and sockets."""
    return BufferedClient()


@pytest.fixture
def fake(kafka: BufferedClient) -> Iterator[Producer]:
    """A producer whose messages end in `kafka`."""
    with Producer(kafka={"client.id": "test"}, client_factory=kafka) as producer:
        yield producer


@pytest.fixture
def cluster(waterdrop_cluster: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """The plugin's mock cluster, one for each process of pytest; faults are undone."""
    yield waterdrop_cluster
    waterdrop_cluster.heal()


@pytest.fixture
def producer(cluster: EmbeddedCluster) -> Iterator[Producer]:
    """A producer that sends to the mock cluster, with librdkafka itself."""
    kafka = {"bootstrap.servers": cluster.bootstrap_servers, "linger.ms": 0}
    with Producer(kafka=kafka) as producer:
        yield producer


@pytest.fixture
def topic() -> str:
    """A topic of the test's own; it appears with its first message."""
    return f"orders-{uuid.uuid4().hex}"
