"""What tests share that consume, transform and produce on a real broker."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from waterdrop_py import Producer

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster

PARTITIONS: Final = 3
"""Of each input topic."""


def transactional(cluster: KafkaCluster) -> Producer:
    """A transactional producer with an id of its own."""
    kafka = {
        **cluster.client_properties(),
        "linger.ms": 0,
        "transactional.id": uuid.uuid4().hex,
    }
    return Producer(kafka=kafka)


def filled(cluster: KafkaCluster, count: int) -> tuple[str, str]:
    """An input topic with `count` messages over its partitions, and one for output."""
    source, sink = (f"{name}-{uuid.uuid4().hex[:12]}" for name in ("in", "out"))
    cluster.create_topic(source, partitions=PARTITIONS)
    cluster.create_topic(sink)
    with Producer(kafka=cluster.client_properties()) as producer:
        producer.produce_many_sync(
            {"topic": source, "payload": b"%d" % each, "partition": each % PARTITIONS}
            for each in range(count)
        )
    return source, sink
