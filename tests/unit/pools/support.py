"""Pools on clients that need no Kafka, and what their tests look at."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from tests.doubles import Park
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py.testing import FakeClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waterdrop_py import Producer, ProducerPool
    from waterdrop_py.monitor import Event

FENCED = KafkaError._FENCED  # noqa: SLF001 - librdkafka's name
SEQUENCE = KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER
REFUSED = KafkaError.CLUSTER_AUTHORIZATION_FAILED
AWAY = KafkaError._TRANSPORT  # noqa: SLF001 - librdkafka's name
NONE_LEFT = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - librdkafka's name
HERE = __file__
SILENCE = 0.005
"""Seconds that a poll waits for a silent cluster."""


class Cluster:
    """The `client_factory` of a pool, and the broker of all of its clients.

    Attributes:
        clients: every client that was opened, in order.
        asked: requests for metadata.
        down: brokers refuse every request for metadata, at once.
        why: the code of the error then.
        silent: no message is acknowledged.
        parks: by method, where its callers wait.
        together: pairs of clients that were open with one `transactional.id`.
    """

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.asked = 0
        self.down = False
        self.why = REFUSED
        self.silent = False
        self.parks: dict[str, Callable[[], None]] = {}
        self.together: list[str] = []

    def __call__(self, conf: dict[str, Any]) -> Client:
        """Open a client."""
        own = conf.get("transactional.id")
        if own is not None and own in [each.transactional_id for each in self.open]:
            self.together.append(own)
        client = Client(self, conf)
        self.clients.append(client)
        return client

    @property
    def open(self) -> list[Client]:
        """The clients that are not closed."""
        return [each for each in self.clients if not each.closed]

    @contextmanager
    def park(self, method: str) -> Iterator[Park]:
        """Hold the callers of `method` until the block ends, or `go`."""
        park = self.parks[method] = Park()
        try:
            yield park
        finally:
            self.parks.pop(method, None)
            park.go()

    def pass_by(self, method: str) -> None:
        """Wait where the test says so."""
        park = self.parks.get(method)
        if park is not None:
            park()


class Client(FakeClient):
    """A client of a `Cluster`."""

    def __init__(self, cluster: Cluster, conf: dict[str, Any]) -> None:
        self.cluster = cluster
        self.conf = conf
        self.closed = False
        super().__init__(conf)

    @property
    def transactional_id(self) -> str | None:
        """Its `transactional.id`."""
        return self.conf.get("transactional.id")

    def poll(self, timeout: float = -1) -> int:
        """Acknowledge what waits, unless the cluster is silent."""
        if self.cluster.silent and not self.closing_down:
            if timeout > 0:
                threading.Event().wait(min(timeout, SILENCE))
            return 0
        return super().poll(timeout)

    closing_down = False

    def purge(
        self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True
    ) -> None:
        """Fail what waits."""
        self.closing_down = True
        super().purge(in_queue, in_flight, blocking)

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Metadata, unless the cluster is down."""
        self.cluster.pass_by("list_topics")
        self.cluster.asked += 1
        if self.cluster.down:
            if self.cluster.why == AWAY:
                self.conf["error_cb"](KafkaError(NONE_LEFT, "none answers"))
            raise KafkaException(KafkaError(self.cluster.why))
        return super().list_topics(topic, timeout)

    def init_transactions(self, timeout: float = -1) -> None:
        """Register the id."""
        self.cluster.pass_by("init_transactions")
        super().init_transactions(timeout)

    def close(self) -> bool:
        """Close it."""
        self.cluster.pass_by("close")
        closed = super().close()
        self.closed = True
        return closed


def config(cluster: Cluster, **options: Any) -> dict[str, Any]:
    """Options of a `Config` on that cluster."""
    kafka = {"bootstrap.servers": "fake:9092", **options.pop("kafka", {})}
    return {"kafka": kafka, "client_factory": cluster, **options}


def transactional(cluster: Cluster, prefix: str = "tx", **options: Any) -> Any:
    """The same with a `transactional.id`."""
    kafka = {"transactional.id": prefix, **options.pop("kafka", {})}
    return config(cluster, kafka=kafka, **options)


def lose(producer: Producer, code: int = SEQUENCE) -> None:
    """The client meets a fatal error."""
    client = producer._connection.client  # noqa: SLF001 - there is no other way
    assert client is not NO_CLIENT, "it has none"
    client.note_fatal(KafkaError(code, "lost", True))


def send(pool: ProducerPool, count: int = 1) -> Producer:
    """Send in a lease of its own; the producer that did."""
    with pool.acquire() as producer:
        for _ in range(count):
            producer.produce_sync("t", b"x")
    return producer


def named(events: list[Event], name: str) -> list[Event]:
    """The events of that name."""
    return [event for event in list(events) if event.name == name]


def names(events: list[Event], prefix: str = "pool.") -> list[str]:
    """The names of the events that begin so, in order."""
    return [event.name for event in list(events) if event.name.startswith(prefix)]


def balanced(pool: ProducerPool) -> bool:
    """Whether each request of the pool is counted once."""
    stats = pool.stats()
    ended = stats.granted + stats.timed_out + stats.refused
    return stats.requests == ended + stats.waiting
