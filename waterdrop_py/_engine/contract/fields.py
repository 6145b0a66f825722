"""What each field of a message may be, and what is sent of it."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._settings.shown import kind

if TYPE_CHECKING:
    from waterdrop_py.typing import Headers

# Kafka's own rule (org.apache.kafka.common.internals.Topic), whole string, ASCII.
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
MAX_PARTITION: Final = 2**31 - 1  # an int32 on the wire
PAIR: Final = len(("name", "value"))
_MAX_TIMESTAMP: Final = 2**63 - 1  # an int64 on the wire

KNOWN_TOPICS: Final[set[str]] = set()
"""Topics that passed, so that a send need not match them again. Bounded."""
_MAX_KNOWN_TOPICS: Final = 10_000


def topic(value: Any, errors: dict[str, str]) -> str:
    if isinstance(value, Enum) and isinstance(value.value, str):
        value = value.value
    if isinstance(value, str) and _TOPIC.fullmatch(value):
        topic = str(value)
        if len(KNOWN_TOPICS) < _MAX_KNOWN_TOPICS:
            KNOWN_TOPICS.add(topic)
        return topic
    errors["topic"] = (
        f"{shown(value)} is no topic name; 1 to 249 of A-Z a-z 0-9 . _ - are legal"
    )
    return ""


def payload(value: Any, errors: dict[str, str]) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
    except ValueError as error:  # a lone surrogate, or a released memoryview
        errors["payload"] = f"{type(value).__name__} cannot be sent: {error}"
        return None
    errors["payload"] = (
        f"{type(value).__name__} is no payload; bytes, bytearray, memoryview, str "
        "(sent as UTF-8) or None are legal"
    )
    return None


def key(name: str, value: Any, errors: dict[str, str]) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bytes | str) and value:
        try:
            return value.encode() if isinstance(value, str) else bytes(value)
        except UnicodeEncodeError as error:
            errors[name] = f"str cannot be sent: {error.reason}; UTF-8 text is legal"
            return None
    errors[name] = f"{shown(value)} is no key; non-empty bytes or str, or None, is"
    return None


def partition(value: Any, errors: dict[str, str]) -> int | None:
    if value is None or (type(value) is int and value == -1):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value <= MAX_PARTITION:
            return int(value)
        errors["partition"] = (
            f"{shown(value)} is out of range; 0 to {MAX_PARTITION}, or -1 or None for "
            "the partitioner, are legal"
        )
        return None
    errors["partition"] = f"{shown(value)} is no partition; an int, -1 or None is"
    return None


def timestamp(value: Any, errors: dict[str, str]) -> int | None:
    if value is None:
        return None
    legal = "int milliseconds since the epoch (1 or more), or an aware datetime, is"
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            errors["timestamp"] = f"{value!r} has no time zone; {legal} legal"
            return None
        value = round(value.timestamp() * 1000)
    elif isinstance(value, bool) or not isinstance(value, int):
        errors["timestamp"] = f"{shown(value)} is no timestamp; {legal} legal"
        return None
    if 1 <= value <= _MAX_TIMESTAMP:
        return int(value)
    errors["timestamp"] = f"{shown(value)} ms is out of range; {legal} legal"
    return None


def headers(value: Any, errors: dict[str, str]) -> Headers | None:
    if value is None:
        return None
    pairs: Any
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        pairs = value
    else:
        errors["headers"] = (
            f"{type(value).__name__} is no headers; a mapping or a list of "
            "(name, value) pairs is"
        )
        return None
    headers: Headers = []
    try:
        for pair in pairs:
            headers += _header(pair)
    except UnicodeEncodeError as error:
        errors["headers"] = f"str cannot be sent: {error.reason}; UTF-8 text is legal"
        return None
    except TypeError as error:
        errors["headers"] = str(error)
        return None
    return headers or None


def _header(pair: Any) -> Headers:
    """One header, or as many as its value has items."""
    if not (isinstance(pair, tuple | list) and len(pair) == PAIR):
        raise TypeError(f"{type(pair).__name__} is no (name, value) pair")
    name, content = pair
    # A NUL would silently cut the name: the C client reads up to it.
    if not isinstance(name, str) or "\0" in name:
        raise TypeError(f"{shown(name)} is no header name; a str without NUL is")
    name.encode()
    values = content if isinstance(content, list | tuple) else [content]
    return [(str(name), _header_value(name, value)) for value in values]


def _header_value(name: str, value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(
        f"header {name!r}: {type(value).__name__} is no value; bytes, str (UTF-8), "
        "None or a list of those is"
    )


_CHECKS: Final[dict[str, Callable[[Any, dict[str, str]], object]]] = {
    "topic": topic,
    "payload": payload,
    "key": partial(key, "key"),
    "partition": partition,
    "partition_key": partial(key, "partition_key"),
    "timestamp": timestamp,
    "headers": headers,
}


def field_errors(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values of these fields, each by its name."""
    errors: dict[str, str] = {}
    for name, check in _CHECKS.items():
        if name in values:
            check(values[name], errors)
    return errors


def shown(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # an int of more digits than str() converts
        return kind(value)
