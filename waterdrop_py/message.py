"""Defines `Message`, a message as a user writes it, and the types of its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

Payload: TypeAlias = bytes | bytearray | memoryview | str | None
Key: TypeAlias = bytes | str | None
HeaderValue: TypeAlias = bytes | str | Sequence[bytes | str | None] | None
HeadersInput: TypeAlias = (
    Mapping[str, HeaderValue] | Sequence[tuple[str, HeaderValue]] | None
)

MAX_PARTITION: Final = 2**31 - 1
"""The largest partition number: an int32 in Kafka's protocol."""
PAIR: Final = len(("name", "value"))
"""The number of items in a header."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Immutable: `dataclasses.replace` makes a changed copy.

    A message is validated when it is sent, because middleware may still change it.

    Attributes:
        topic: `[A-Za-z0-9._-]{1,249}`.
        payload: the value; None is a null payload (a tombstone).
        key: non-empty. The partitioner uses it if neither `partition` nor
            `partition_key` is set.
        partition: 0 or more; None and -1 let the partitioner choose.
        partition_key: non-empty; chooses the partition (crc32 modulo the number of
            partitions, librdkafka's `consistent`) and is never sent.
        timestamp: milliseconds since the epoch, or an aware datetime.
        headers: a mapping or pairs. A list as a value makes a header of each item.
        label: any object; the handle and the report have it, and it is never sent.
    """

    topic: str
    payload: Payload
    key: Key = None
    partition: int | None = None
    partition_key: Key = None
    timestamp: int | datetime | None = None
    headers: HeadersInput = None
    label: Any = None

    def __repr__(self) -> str:
        """Only topic, partition and size: payloads and headers may hold secrets."""
        try:
            size = "null" if self.payload is None else f"{len(self.payload)} long"
        except (TypeError, ValueError):  # not validated yet, or a released memoryview
            size = f"of type {type(self.payload).__name__}"
        place = "" if self.partition is None else f" partition={self.partition}"
        return f"<Message topic={self.topic!r}{place} payload {size}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TracedMessage(Message):
    """A message whose outcome is told to the steps that it has been through.

    Attributes:
        traces: one for each such step, a `middleware.Trace`.
        origin: what it was made of, which may be of a class of the user's.
    """

    traces: tuple[Any, ...] = ()
    origin: Message | None = None

    def plain(self) -> Message:
        """The message without its traces, as later steps and users see it."""
        message = Message(
            self.topic,
            self.payload,
            self.key,
            self.partition,
            self.partition_key,
            self.timestamp,
            self.headers,
            self.label,
        )
        if self.origin is None or type(self.origin) is Message:
            return message
        values = {name: getattr(message, name) for name in Message.__slots__}
        return replace(self.origin, **values)


def traced(message: Message, headers: Any, *traces: Any) -> TracedMessage:
    """`message` with `headers`, whose outcome `traces` are told. Steps return it."""
    return TracedMessage(
        message.topic,
        message.payload,
        message.key,
        message.partition,
        message.partition_key,
        message.timestamp,
        headers,
        message.label,
        traces,
        message,
    )


def untraced(message: Message) -> Message:
    """The message without traces, for users."""
    return message.plain() if isinstance(message, TracedMessage) else message


MessageInput: TypeAlias = Message | Mapping[str, Any]


def snapshot(message: Message) -> Message:
    """Copy a message so that it shares nothing mutable with the caller.

    The copy is not validated: illegal values stay as they are.
    """
    payload, headers = message.payload, message.headers
    if headers is None and not isinstance(payload, bytearray | memoryview):
        return message
    payload, headers = _frozen(payload), _copied(headers)
    if type(message) is not Message:
        return replace(message, payload=payload, headers=headers)
    return Message(  # faster than `replace`, which takes three times as long
        message.topic,
        payload,
        message.key,
        message.partition,
        message.partition_key,
        message.timestamp,
        headers,
        message.label,
    )


def _frozen(payload: Any) -> Any:
    if isinstance(payload, bytearray | memoryview):
        with suppress(ValueError):  # a released memoryview: validation refuses it
            return bytes(payload)
    return payload


def _copied(headers: Any) -> Any:
    if isinstance(headers, Mapping):
        return {name: _own(value) for name, value in headers.items()}
    if isinstance(headers, Sequence) and not isinstance(headers, str | bytes):
        return [_pair(each) for each in headers]
    return headers


def _pair(pair: Any) -> Any:
    if isinstance(pair, list | tuple) and len(pair) == PAIR:
        return pair[0], _own(pair[1])
    return pair


def _own(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value
