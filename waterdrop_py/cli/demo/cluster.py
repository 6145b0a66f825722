"""The cluster and topic of the demo: the embedded cluster, or one of the user's."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from waterdrop_py.producer import Producer
from waterdrop_py.testing import EmbeddedCluster, read_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from confluent_kafka import Message

BROKERS: Final = 3
PARTITIONS: Final = 3
REACH_SECONDS: Final = 4.0
ADMIN_SECONDS: Final = 5.0
MESSAGE_SECONDS: Final = 5
"""Seconds after which a message has failed."""
_ID: Final = "transactional.id"
QUIET: Final = {"log_level": 0}
"""Keeps the admin client and bare producers from writing to stderr."""


@dataclass(frozen=True)
class Target:
    """The topic that the demo sends to.

    Attributes:
        cluster: librdkafka's properties of a client of the cluster.
        topic: its name, which is unique.
        partitions: how many partitions it has.
        what: the cluster, in words.
        statistics_ms: milliseconds between two statistics of librdkafka; None: as
            configured.
    """

    cluster: Mapping[str, Any] = field(repr=False)
    topic: str
    partitions: int
    what: str
    statistics_ms: int | None = None

    def kafka(self) -> dict[str, Any]:
        """The properties of every producer of the demo, bare ones included."""
        statistics = {"statistics.interval.ms": self.statistics_ms}
        return {
            **self.cluster,
            **({} if self.statistics_ms is None else statistics),
            "linger.ms": 0,
            "socket.nagle.disable": True,
            "message.timeout.ms": MESSAGE_SECONDS * 1000,
        }

    def read_back(self) -> list[Message]:
        """Every message of the topic. Blocks, and raises as `read_topic` does."""
        servers = str(self.cluster["bootstrap.servers"])
        return read_topic(servers, self.topic, properties=self.cluster)


@contextmanager
def open_target(
    cluster: Mapping[str, Any] | None, say: Callable[[str], None]
) -> Iterator[Target]:
    """Start a cluster or reach the given one, create a topic, and delete it at the end.

    `cluster` has librdkafka's properties. `say` is called with what the user should
    know. Blocks for at most 4 s to reach a cluster and 5 s to create the topic.

    Raises:
        BrokerUnreachableError: no broker answered, with a checklist.
        ConfigurationInvalidError: librdkafka refuses a property.
        ProduceError: neither the demo nor the cluster could create the topic.
    """
    topic = f"waterdrop-demo-{uuid.uuid4().hex[:12]}"
    if cluster is None:
        with EmbeddedCluster(brokers=BROKERS) as mock:
            mock.create_topic(topic, PARTITIONS)
            yield Target(
                {"bootstrap.servers": mock.bootstrap_servers},
                topic,
                PARTITIONS,
                f"librdkafka's mock cluster: {BROKERS} brokers on this machine",
            )
        return
    # Each of the demo's producers has a client of its own, and an id would be shared.
    cluster = {name: each for name, each in cluster.items() if name != _ID}
    with Producer(kafka=cluster) as probe:
        probe.connect(REACH_SECONDS)
        refusal = _create(cluster, topic)
        if refusal is not None:
            say(f"could not create {topic} ({refusal}): left to the cluster")
        partitions = probe.partition_count(topic)
    try:
        yield Target(cluster, topic, partitions, str(cluster["bootstrap.servers"]))
    finally:
        kept = refusal or _delete(cluster, topic)
        if kept is not None:
            say(f"topic {topic} stays behind ({kept})")


def _create(cluster: Mapping[str, Any], topic: str) -> str | None:
    """Create the topic; returns why that failed, or None."""
    admin = AdminClient({**cluster, **QUIET})
    created = admin.create_topics(
        [NewTopic(topic, num_partitions=PARTITIONS)], operation_timeout=ADMIN_SECONDS
    )
    return _outcome(created[topic])


def _delete(cluster: Mapping[str, Any], topic: str) -> str | None:
    """Delete the topic; returns why that failed, or None."""
    admin = AdminClient({**cluster, **QUIET})
    return _outcome(admin.delete_topics([topic])[topic])


def _outcome(future: Future[Any]) -> str | None:
    try:
        future.result(ADMIN_SECONDS)
    except KafkaException as error:
        return str(error.args[0].str())
    except TimeoutError:
        return f"no answer within {ADMIN_SECONDS:g} s"
    return None
