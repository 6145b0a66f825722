"""A topic on a cluster of each test, and producers that are closed after it."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import EventLog, refusing
from waterdrop_py import Config, Producer, monitor
from waterdrop_py._engine.connection.connection import every_connection
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py.testing import DroppingProxy, allow_short_idle_timeouts

NAMELESS = "waterdrop-"
"""With what the id of a producer begins that was given none: no later one has it."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded.support import MakeProducer
    from waterdrop_py.testing import EmbeddedCluster


@pytest.fixture
def topic(cluster: EmbeddedCluster) -> str:
    """A topic of the test's own, with three partitions, one led by each broker."""
    name = f"topic-{uuid.uuid4().hex[:12]}"
    cluster.create_topic(name, 3)
    return name


@pytest.fixture
def name() -> str:
    """The id of a producer that no other test has: metrics add up by it."""
    return f"orders-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def dead() -> Iterator[str]:
    """The address of a broker that is down."""
    with refusing() as servers:
        yield servers


@pytest.fixture
def proxy(cluster: EmbeddedCluster) -> Iterator[DroppingProxy]:
    """A fresh proxy in front of the cluster."""
    with DroppingProxy(cluster) as running:
        yield running


@pytest.fixture
def make_producer(cluster: EmbeddedCluster) -> Iterator[MakeProducer]:
    """Builds producers; idle timeouts may be short. All are closed after the test."""
    with ExitStack() as closing:

        def make(
            servers: str | None = None, /, *, kafka: Any = None, **options: Any
        ) -> Producer:
            properties = {
                "bootstrap.servers": servers or cluster.bootstrap_servers,
                "linger.ms": 0,
                **(kafka or {}),
            }
            with allow_short_idle_timeouts():
                producer = Producer(Config(kafka=properties, **options))
            closing.callback(producer.close, force=True)
            return producer

        yield make


@pytest.fixture
def log() -> Iterator[EventLog]:
    """Every event of the test's producers, statistics left out. What other tests have
    dropped may still be told of."""
    earlier = {client.reports.emitter.producer_id for client in RUNTIME.clients()}
    earlier |= {each.emitter.producer_id for each in every_connection()}
    listening = EventLog(monitor, without={id for id in earlier if NAMELESS in id})
    yield listening
    listening.stop()
