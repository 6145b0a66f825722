"""The offset behind a consumed message, as a transaction takes it."""

from __future__ import annotations

from typing import Any

from confluent_kafka import TopicPartition

from waterdrop_py._engine.contract.fields import shown
from waterdrop_py.errors import TransactionalOffsetInvalidError


def checked_offset(consumer: Any, message: Any, metadata: Any) -> TopicPartition:
    """The offset behind a consumed message, for `mark_as_consumed`.

    Raises:
        TransactionalOffsetInvalidError: with every violation.
    """
    errors: dict[str, str] = {}
    if not callable(getattr(consumer, "consumer_group_metadata", None)):
        errors["consumer"] = (
            f"{type(consumer).__name__} has no consumer_group_metadata(); a "
            "confluent_kafka.Consumer is legal"
        )
    place: list[Any] = []
    for name, kind in (("topic", str), ("partition", int), ("offset", int)):
        read = getattr(message, name, None)
        value = read() if callable(read) else None
        if not isinstance(value, kind):
            errors["message"] = (
                f"{type(message).__name__} has no {name}(); a message that a consumer "
                "returned is legal"
            )
        place.append(value)
    if metadata is not None and not isinstance(metadata, str):
        errors["metadata"] = f"{shown(metadata)} is no metadata; a str or None is"
    if errors:
        raise TransactionalOffsetInvalidError(errors)
    topic, partition, offset = place
    if metadata is None:  # confluent-kafka takes no None there
        return TopicPartition(topic, partition, offset + 1)
    return TopicPartition(topic, partition, offset + 1, metadata)
