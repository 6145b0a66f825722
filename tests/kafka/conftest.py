"""A real Apache Kafka for the tests of this folder; without it they fail."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.kafka.harness import HarnessError, KafkaCluster
from tests.kafka.pooling import wait_until
from waterdrop_py._engine.process.resources import count_resources

if TYPE_CHECKING:
    from collections.abc import Iterator


BOUND = 40
"""A request of librdkafka's lasts 30 s at most, unless its caller gave it longer."""


def no_client() -> bool:
    """Whether this process has no thread of librdkafka's."""
    found = count_resources()
    return found is not None and not found.threads


def started(nodes: int) -> Iterator[KafkaCluster]:
    """A running cluster; what keeps it from running is said without a traceback."""
    cluster = KafkaCluster(nodes)
    try:
        cluster.start()
    except HarnessError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    with closing(cluster):
        yield cluster


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """One node, with every listener."""
    yield from started(1)


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[KafkaCluster]:
    """Three nodes, with every listener; a test leaves all of them running."""
    yield from started(3)


@pytest.fixture(autouse=True)
def no_connection_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No client of another test is there, and once a test has ended the brokers hold no
    connection.

    A request of a client that was refused lasts as long as its bound, and so do the
    client's threads, also where it counts as closed: it dials on, and the next test
    would see it at the broker now and then.
    """
    wait_until(no_client, "a client of another test is left", BOUND)
    yield
    for name in ("kafka", "kafka_cluster"):
        if name in request.fixturenames:
            cluster: KafkaCluster = request.getfixturevalue(name)
            cluster.wait_for_connections(0)


@pytest.fixture
def topic(kafka: KafkaCluster) -> str:
    """A fresh topic with one partition on the single node."""
    return kafka.create_topic(f"topic-{uuid.uuid4().hex[:12]}")
