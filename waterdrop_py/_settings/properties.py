"""Holds the user's librdkafka properties: copied, read-only and safe to print."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, NoReturn

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.plain import plain, unwrapped, whole
from waterdrop_py._settings.redact import is_secret, kind, shown, shown_property

_LARGEST = 2**63 - 1
_NOT_PICKLABLE = "librdkafka properties are not picklable: they may hold secrets"
_PLAIN = (str, int, float, bool, type(None))


class Properties(Mapping[str, Any]):
    """A read-only mapping of librdkafka properties whose repr hides secrets.

    `dict(properties)` is what the user gave. Pickling raises a `TypeError`, because the
    result would hold the secrets in plain text.
    """

    __slots__ = ("_items",)

    def __init__(self, items: dict[str, Any]) -> None:
        self._items = items

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items))

    def __repr__(self) -> str:
        pairs = (f"{name!r}: {_shown(name, self[name])}" for name in self)
        return "{" + ", ".join(pairs) + "}"

    def over(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """A new dict of these properties, and of the defaults for missing ones."""
        return {**defaults, **self._items}

    def __copy__(self) -> Properties:
        return self

    def __deepcopy__(self, _memo: object) -> Properties:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(_NOT_PICKLABLE)


class EditableProperties(dict[str, Any]):
    """A mutable copy, which `producer.reload` carries; its repr hides secrets."""

    def __repr__(self) -> str:
        return repr(Properties(dict(self)))

    def __reduce__(self) -> NoReturn:
        raise TypeError(_NOT_PICKLABLE)


def copied(value: object) -> tuple[Properties, dict[str, str]]:
    """Copy the properties; return the copy, and what is wrong with it by path.

    The copy shares nothing mutable with the caller's mapping. A path is `kafka` or
    `kafka.<property>`.
    """
    if not isinstance(value, Mapping):
        return Properties({}), {
            "kafka": "must be a mapping of librdkafka properties such as "
            f"{{'bootstrap.servers': 'host:9092'}}, got {kind(value)}"
        }
    if not value:
        return Properties({}), {
            "kafka": "must not be empty; give at least "
            "{'bootstrap.servers': 'host:9092'}"
        }
    items: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for key, given in value.items():
        name = plain(key)
        if isinstance(name, str) and not unfit_text(name):
            items[name] = _copied_value(f"kafka.{name}", name, given, errors)
        else:
            errors["kafka"] = f"must have names of properties as keys, got {kind(key)}"
    return Properties(items), errors


def _copied_value(path: str, name: str, value: Any, errors: dict[str, str]) -> Any:
    """The plain value; what is wrong with it goes into `errors`."""
    if name == librdkafka.TOPIC_DEFAULTS:
        inner, wrong = copied(value)
        for where, sentence in wrong.items():
            errors[where.replace("kafka", path, 1)] = sentence
        return inner
    if name in librdkafka.CALLBACKS:
        return value
    if name in librdkafka.SERIALIZERS:
        errors[path] = (
            "must be set by client_factory, as in lambda conf: "
            f"SerializingProducer({{**conf, {name!r}: ...}})"
        )
        return None
    own = value if type(value) in _PLAIN else _as_plain(value)
    refusal = _refusal(own, value)
    if refusal is not None:
        errors[path] = f"{refusal}{_hint(name, value)}"
        return None
    return own


def _as_plain(value: Any) -> Any:
    """The str, int, float or bool in an enum, a subclass, a path or numpy's number."""
    own = unwrapped(value)
    own = plain(own.value if isinstance(own, Enum) else own)
    if isinstance(own, float):
        return float.__float__(own)
    number = whole(own)
    return own if number is None else number


def _refusal(own: Any, given: object) -> str | None:
    """Why librdkafka would not get what was meant, or None."""
    if isinstance(own, str):
        # librdkafka cuts the text at a NUL. confluent-kafka raises a SystemError for a
        # lone surrogate.
        sentence = "must be valid Unicode without NUL characters"
        return sentence if unfit_text(own) else None
    if isinstance(own, int):
        # str() would also refuse a very large int.
        beyond = abs(own) > _LARGEST
        return f"{shown(own)} is beyond any property's range" if beyond else None
    if isinstance(own, float):
        # librdkafka accepts nan, because no comparison with nan is true.
        return "must be a number, got nan" if math.isnan(own) else None
    if own is None:
        return None
    # confluent-kafka would pass on str(own): b'x' as "b'x'", a list as "['x']".
    return f"must be a str, int, float or bool, got {kind(given)}"


def _hint(name: str, value: object) -> str:
    """A hint for a list of brokers, or a whole number of another type."""
    if isinstance(value, list | tuple) and name in librdkafka.names_of(
        librdkafka.SERVERS
    ):
        return "; did you mean one str with commas between the brokers?"
    if is_secret(name) or isinstance(value, int | float | str | bytes):
        return ""
    try:
        number = int(value)  # type: ignore[call-overload]
    except Exception:  # noqa: BLE001 - __int__ may be the user's
        return ""
    return f"; did you mean {shown(number)}?" if number == value else ""


def unfit_text(text: str) -> bool:
    """Whether librdkafka would cut the text, or confluent-kafka refuse it."""
    if text.isascii():
        return "\0" in text
    return "\0" in text or any("\ud800" <= char <= "\udfff" for char in text)


def _shown(name: str, value: object) -> str:
    if isinstance(value, Properties):
        return repr(value)
    return shown_property(name, value)
