"""Checks consumed messages, and turns them into the positions to commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, Message

from waterdrop_py._settings.properties import unfit_text
from waterdrop_py._settings.redact import kind, short_repr
from waterdrop_py.errors import TransactionalOffsetInvalidError
from waterdrop_py.message import MAX_PARTITION

_MAX_OFFSET: Final = 2**63 - 2  # the offset behind it is an int64 on the wire
_MAX_NAMED: Final = 10
"""Faulty messages of a batch that an error names; the others are counted."""


class Position(NamedTuple):
    """The offset at which a consumer of one partition is to continue."""

    offset: int
    metadata: str | None
    leader_epoch: int | None


Positions = dict[tuple[str, int], Position]


def listed_consumed(messages: Any) -> list[Any]:
    """Consumed messages as a list, from one message or an iterable of them."""
    if isinstance(messages, list | tuple):
        return list(messages)
    foreign = isinstance(messages, str | bytes | Mapping | type)
    if foreign or _is_message(messages) or not isinstance(messages, Iterable):
        return [messages]
    return list(messages)


def checked_positions(
    consumer: Any, messages: list[Any], metadata: Any, *, single: bool
) -> Positions:
    """The highest position of each partition, for `mark_as_consumed`.

    `single`: the user gave one message, not a list.

    Raises:
        TransactionalOffsetInvalidError: with every violation.
    """
    errors: dict[str, str] = {}
    if not callable(getattr(consumer, "consumer_group_metadata", None)):
        errors["consumer"] = (
            "must be a confluent_kafka.Consumer, got "
            f"{kind(consumer)}, which has no consumer_group_metadata()"
        )
    highest: Positions = {}
    wrong = 0
    for index, message in enumerate(messages):
        fault = _take(message, metadata, highest)
        if fault is None:
            continue
        wrong += 1
        if wrong <= _MAX_NAMED:
            path = "messages" if single else f"messages[{index}]"
            errors[path] = f"must be a message that a consumer returned, got {fault}"
    if wrong > _MAX_NAMED:
        errors["messages"] = f"{wrong} are wrong; the first {_MAX_NAMED} are named"
    if metadata is not None and (not isinstance(metadata, str) or unfit_text(metadata)):
        errors["metadata"] = (
            f"must be a str of UTF-8 without NUL, or None, got {short_repr(metadata)}"
        )
    if errors:
        raise TransactionalOffsetInvalidError(errors)
    return highest


def _take(message: Any, metadata: Any, highest: Positions) -> str | None:
    """Note the position behind `message`. Returns what is wrong with it, or None."""
    # An "end of partition" carries the offset of the next message. The position behind
    # that would skip it.
    failure = _answer(message, "error")
    if isinstance(failure, KafkaError):
        return f"{type(message).__name__} of an error of the consumer: {failure}"
    topic = _answer(message, "topic")
    if not isinstance(topic, str):
        return f"{_named(message)}, which has no topic()"
    partition, offset = _answer(message, "partition"), _answer(message, "offset")
    for name, value, most in (
        ("partition", partition, MAX_PARTITION),
        ("offset", offset, _MAX_OFFSET),
    ):
        if type(value) is not int:
            return f"{_named(message)}, which has no {name}()"
        if not 0 <= value <= most:
            return f"{name} {short_repr(value)}, which is not from 0 to {most}"
    known = highest.get((topic, partition))
    if known is None or known.offset <= offset + 1:
        epoch = _answer(message, "leader_epoch")
        highest[topic, partition] = Position(
            offset + 1, metadata, epoch if type(epoch) is int and epoch >= 0 else None
        )
    return None


def _is_message(value: Any) -> bool:
    return isinstance(value, Message) or callable(getattr(value, "offset", None))


def _named(value: Any) -> str:
    return (
        f"class {value.__name__}" if isinstance(value, type) else type(value).__name__
    )


def _answer(message: Any, name: str) -> Any:
    read = getattr(message, name, None)
    return read() if callable(read) and not isinstance(message, type) else None
