"""The offset behind a consumed message, as a transaction takes it."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, TopicPartition

from waterdrop_py._engine.contract.fields import MAX_PARTITION, shown
from waterdrop_py._settings.kafka import unfit_text
from waterdrop_py._settings.shown import kind
from waterdrop_py.errors import TransactionalOffsetInvalidError

_MAX_OFFSET: Final = 2**63 - 2  # the one behind it is an int64 on the wire


def checked_offset(consumer: Any, message: Any, metadata: Any) -> TopicPartition:
    """The offset behind a consumed message, for `mark_as_consumed`.

    Raises:
        TransactionalOffsetInvalidError: with every violation.
    """
    errors: dict[str, str] = {}
    if not callable(getattr(consumer, "consumer_group_metadata", None)):
        errors["consumer"] = (
            "must be a confluent_kafka.Consumer, got "
            f"{kind(consumer)}, which has no consumer_group_metadata()"
        )
    wrong = _wrong_message(message)
    if wrong is not None:
        errors["message"] = f"must be a message that a consumer returned: {wrong}"
    if metadata is not None and (not isinstance(metadata, str) or unfit_text(metadata)):
        errors["metadata"] = (
            f"must be a str without NUL, or None, got {shown(metadata)}"
        )
    if errors:
        raise TransactionalOffsetInvalidError(errors)
    place = message.topic(), message.partition(), message.offset() + 1
    if metadata is None:  # confluent-kafka takes no None there
        return TopicPartition(*place)
    return TopicPartition(*place, metadata)


def _wrong_message(message: Any) -> str | None:
    """Why this is no consumed message, or None."""
    # Of "end of partition" the offset is that of the message to come, and the one
    # behind it would skip that message.
    failure = _answer(message, "error")
    if isinstance(failure, KafkaError):
        return f"{type(message).__name__} is an error of the consumer: {failure}"
    topic = _answer(message, "topic")
    if not isinstance(topic, str):
        return f"{type(message).__name__} has no topic()"
    for name, most in (("partition", MAX_PARTITION), ("offset", _MAX_OFFSET)):
        value = _answer(message, name)
        if type(value) is not int:
            return f"{type(message).__name__} has no {name}()"
        if not 0 <= value <= most:
            return f"its {name} {shown(value)} is out of range, 0 to {most}"
    return None


def _answer(message: Any, name: str) -> Any:
    read = getattr(message, name, None)
    return read() if callable(read) and not isinstance(message, type) else None
