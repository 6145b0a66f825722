"""`read_topic`: reading a whole topic back, to see what really arrived."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

BATCH = 1_000
SLICE_SECONDS = 0.2  # a blocking native call is deaf to Ctrl-C for as long as it lasts
DEFAULTS: dict[str, Any] = {
    "group.id": "waterdrop-reading",  # required, and never joined
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,  # else the last, empty fetch waits for half a second
    "log_level": 0,
}


def read_topic(
    bootstrap_servers: str,
    topic: str,
    *,
    timeout: float | timedelta = 10.0,
    properties: Mapping[str, Any] | None = None,
) -> list[Message]:
    """Every message of the topic, from its beginning to its end as of now.

    Works on any cluster; `properties` are librdkafka's, such as those for security. The
    partitions are assigned, because joining a group takes seconds. Messages come in the
    order of partition and offset. Blocks for at most about `timeout` seconds. Raises
    `TimeoutError` if the end was not reached by then, and `KafkaException` if the
    cluster refuses to be read.

    Args:
        bootstrap_servers: of the cluster.
        topic: its name.
        timeout: seconds, or a `timedelta`.
        properties: librdkafka's, for the consumer that reads.

    Example:
        >>> report = producer.produce_sync("read-me", b"first")
        >>> [message.value() for message in read_topic("localhost:9092", "read-me")]
        [b'first']
    """
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    deadline = time.monotonic() + seconds
    consumer = Consumer(
        {**DEFAULTS, **(properties or {}), "bootstrap.servers": bootstrap_servers}
    )
    try:
        partitions = _partitions(consumer, topic, seconds)
        consumer.assign(
            [TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions]
        )
        return sorted(_to_the_end(consumer, partitions, deadline), key=_position)
    finally:
        consumer.close()


def _partitions(consumer: Consumer, topic: str, seconds: float) -> list[int]:
    try:
        metadata = consumer.list_topics(topic, timeout=seconds).topics[topic]
    except KafkaException as error:
        raise TimeoutError(f"no metadata of {topic} within {seconds:g} s") from error
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    return list(metadata.partitions)


def _to_the_end(
    consumer: Consumer, partitions: list[int], deadline: float
) -> list[Message]:
    unfinished = set(partitions)
    messages: list[Message] = []
    while unfinished:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(
                f"read {len(messages)} messages, and did not reach the end of the "
                f"partitions {sorted(unfinished)} in time"
            )
        # consume() alone would wait for a full batch until its timeout.
        first = consumer.poll(min(left, SLICE_SECONDS))
        more = consumer.consume(BATCH, 0)
        for message in more if first is None else [first, *more]:
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                unfinished.discard(_position(message)[0])
            elif not error.retriable():
                raise KafkaException(error)
    return messages


def _position(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
