"""The rules for each field of a message, and the form in which it is sent.

Each function returns what is sent, and adds a sentence to `errors` for a wrong value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._settings.plain import plain, value_hint, whole
from waterdrop_py._settings.redact import kind, short_repr
from waterdrop_py._settings.rejected import RefusedError
from waterdrop_py.message import MAX_PARTITION, PAIR

if TYPE_CHECKING:
    from waterdrop_py.typing import Headers

# Kafka's own rule (org.apache.kafka.common.internals.Topic), whole string, ASCII.
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_MAX_TIMESTAMP: Final = 2**63 - 1  # an int64 on the wire
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)

KNOWN_TOPICS: Final[set[str]] = set()
"""Topics that are valid, so that no send has to match them again. Bounded."""
_MAX_KNOWN_TOPICS: Final = 10_000


def topic(value: Any, errors: dict[str, str]) -> str:
    if type(value) is str and value in KNOWN_TOPICS:
        return value
    given, value = value, plain(value)
    if isinstance(value, str) and _TOPIC.fullmatch(value):
        if len(KNOWN_TOPICS) < _MAX_KNOWN_TOPICS:
            KNOWN_TOPICS.add(value)
        return value
    errors["topic"] = (
        "must be a str of 1 to 249 of A-Z a-z 0-9 . _ -, "
        f"got {short_repr(given)}{value_hint(given)}"
    )
    return ""


def payload(value: Any, errors: dict[str, str]) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    given, value = value, plain(value)
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bytes | bytearray | memoryview):
            return _exactly(value)
    except ValueError as error:  # a lone surrogate, or a released memoryview
        errors["payload"] = f"{type(given).__name__} cannot be sent: {error}"
        return None
    errors["payload"] = (
        "must be bytes, bytearray, memoryview, str (sent as UTF-8) or None, got "
        f"{kind(given)}{value_hint(given)}"
    )
    return None


def key(name: str, value: Any, errors: dict[str, str]) -> bytes | None:
    if value is None or (type(value) is bytes and value):
        return value
    given, value = value, plain(value)
    if isinstance(value, bytes | str) and value:
        try:
            return value.encode() if isinstance(value, str) else value
        except UnicodeEncodeError as error:
            errors[name] = f"must be text that UTF-8 can hold: {error.reason}"
            return None
    errors[name] = (
        f"must be non-empty bytes or str, or None, got {short_repr(given)}"
        f"{value_hint(given)}"
    )
    return None


def partition(value: Any, errors: dict[str, str]) -> int | None:
    if value is None:
        return None
    number = whole(value)
    if number == -1:
        return None
    if number is not None and 0 <= number <= MAX_PARTITION:
        return number
    errors["partition"] = (
        f"must be an int from 0 to {MAX_PARTITION}, or -1 or None for the partitioner, "
        f"got {short_repr(value)}{value_hint(value)}"
    )
    return None


def timestamp(value: Any, errors: dict[str, str]) -> int | None:
    if value is None:
        return None
    aware = True
    if isinstance(value, datetime):
        aware = value.tzinfo is not None and value.utcoffset() is not None
        number = _milliseconds(value) if aware else None
    else:
        number = whole(value)
    if number is not None and 1 <= number <= _MAX_TIMESTAMP:
        return number
    errors["timestamp"] = (
        "must be int milliseconds since the epoch (1 or more), or an aware datetime, "
        f"got {short_repr(value)}{value_hint(value)}"
        f"{'' if aware else ', which has no time zone'}"
    )
    return None


def _milliseconds(moment: datetime) -> int | None:
    try:
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    except OverflowError:  # the very ends of the calendar, in another time zone
        return None


def headers(value: Any, errors: dict[str, str]) -> Headers | None:
    if value is None:
        return None
    pairs: Any
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        pairs = list(value)
    else:
        errors["headers"] = (
            f"must be a mapping or a list of (name, value) pairs, got {kind(value)}"
        )
        return None
    headers: Headers = []
    try:
        for pair in pairs:
            headers += _header(pair)
    except UnicodeEncodeError as error:
        errors["headers"] = f"must be text that UTF-8 can hold: {error.reason}"
        return None
    except RefusedError as error:
        errors["headers"] = str(error)
        return None
    return headers or None


def _header(pair: Any) -> Headers:
    """One header, or one for each item of a list."""
    if not (isinstance(pair, tuple | list) and len(pair) == PAIR):
        raise RefusedError(f"must be (name, value) pairs, got {kind(pair)}")
    given, content = pair
    name = plain(given)
    # A NUL would silently cut the name: the C client reads up to it.
    if not isinstance(name, str) or "\0" in name:
        raise RefusedError(
            "must have str without NUL as names, got "
            f"{short_repr(given)}{value_hint(given)}"
        )
    name.encode()
    values = content if isinstance(content, list | tuple) else [content]
    return [(name, _header_value(name, value)) for value in values]


def _header_value(name: str, value: Any) -> bytes | None:
    if value is None:
        return None
    given, value = value, plain(value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise RefusedError(
        f"header {name!r} must be bytes, str (UTF-8), None or a list of those, got "
        f"{kind(given)}{value_hint(given)}"
    )


def _exactly(value: bytes | bytearray | memoryview) -> bytes:
    """The bytes themselves, whatever a subclass overrides."""
    return bytes(value if isinstance(value, memoryview) else memoryview(value))


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
    """What is wrong with these fields, by name."""
    errors: dict[str, str] = {}
    for name, check in _CHECKS.items():
        if name in values:
            check(values[name], errors)
    return errors
