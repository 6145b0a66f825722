"""Reads what takes effect of a configuration; two that agree in it are equal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from types import BuiltinMethodType, MethodType, ModuleType
from typing import Any, Final

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.defaults import missing_defaults
from waterdrop_py._settings.numbers import decimal_number, whole_number
from waterdrop_py._settings.properties import Properties
from waterdrop_py._settings.property_kinds import kind_of
from waterdrop_py._settings.servers import brokers

# Made anew in each process: without it, a short password could be guessed from a hash.
_KEY: Final = os.urandom(32)
_BITS: Final = 128
# What librdkafka itself takes for a property that is not set. Its other defaults may
# change with its version, so a value that is given differs from none.
_NATIVE: Final = {"security.protocol": "plaintext", "sasl.mechanism": "GSSAPI"}
# What None sets where it overrides a default of the library.
_NULL: Final = {"client.id": "rdkafka"}
# librdkafka skips these in front of a text, and not behind it.
_BLANKS: Final = " \t\n\v\f\r"
_TRUE: Final = frozenset({"true", "t", "1"})
_FALSE: Final = frozenset({"false", "f", "0"})
_METHODS: Final = (MethodType, BuiltinMethodType)


def digest(options: Mapping[str, Any]) -> bytes:
    """A digest of what takes effect: equal for equal options, in this process only.

    It keeps no secret, and cannot be made from a guess of one. Never blocks.
    """
    form = [(name, _form(options[name])) for name in sorted(options)]
    return blake2b(repr(form).encode(), key=_KEY, digest_size=_BITS // 8).digest()


def properties_in_force(kafka: Mapping[str, Any]) -> dict[str, Any]:
    """The user's properties, each under one name, with the value that counts.

    That is the last one. librdkafka takes None and an empty text for one another. A
    text that is empty is not set, and a number or flag that is empty is refused later.
    """
    inner = kafka.get(librdkafka.TOPIC_DEFAULTS)
    # confluent-kafka merges the topic defaults like this, and then sets one by one.
    whole = {**kafka, **(inner if isinstance(inner, Mapping) else {})}
    whole.pop(librdkafka.TOPIC_DEFAULTS, None)
    found: dict[str, Any] = {}
    for name, given in whole.items():
        # The prefix `topic.` is legal for some properties only.
        own = librdkafka.own_name(name) if kind_of(name).known else name
        value = given
        if given is None or (isinstance(given, str) and not given):
            value = _NULL.get(own) if _may_be_empty(own) else ""
        found.pop(own, None)
        if value is not None:
            found[own] = value
    return found


def as_read(name: str, value: Any) -> Any:
    """The value as librdkafka reads it; the text of one that it would refuse."""
    text = str(value)
    kind = kind_of(name)
    if kind.boolean:
        word = _lower(text)
        return word in _TRUE if word in _TRUE | _FALSE else text
    if kind.number:
        if name == "acks" and _lower(text) == "all":
            return -1
        read = whole_number if kind.number == "whole" else decimal_number
        number = read(value)
        return text if number is None else number
    return _words(text) if kind.enumerated else text.lstrip(_BLANKS)


def protocol_of(properties: Mapping[str, Any]) -> str:
    """The `security.protocol` of properties in force, in lower case."""
    name = "security.protocol"
    return _lower(str(properties.get(name, _NATIVE[name])).lstrip(_BLANKS))


def _may_be_empty(name: str) -> bool:
    """Whether an empty property is one that is not set."""
    kind = kind_of(name)
    is_text = kind.known and not (kind.number or kind.boolean or kind.enumerated)
    return is_text or name in _NATIVE


def _words(text: str) -> list[str]:
    """The words of an enumerated property, or of a list of flags such as `debug`.

    The order counts only for flags that are added or removed (`all,-broker`).
    """
    found = [_lower(word.lstrip(_BLANKS)) for word in text.split(",")]
    has_signs = any(word.startswith(("+", "-")) for word in found)
    return found if has_signs else sorted(set(found))


def _lower(text: str) -> str:
    """The text in lower case, as librdkafka compares: only ASCII has cases."""
    return text.lower() if text.isascii() else text


def _form(value: Any) -> Any:
    """Plain values with one repr for all that take the same effect."""
    if isinstance(value, Properties):
        return _form_of_properties(value)
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, tuple):
        steps = [_identity(step) for step in value if callable(step)]
        return steps or sorted(set(value))
    if callable(value):
        return _identity(value)
    # The repr of an int with thousands of digits raises.
    return hex(value) if type(value) is int else value


def _form_of_properties(kafka: Properties) -> list[tuple[str, Any]]:
    found = properties_in_force(kafka)
    own = missing_defaults(found, statistics=False)
    own.pop("statistics.interval.ms", None)  # depends on the subscribers at each open
    whole = {**_NATIVE, **own, **found}
    protocol = protocol_of(whole)
    return sorted(
        (name, _form_of_property(name, value, protocol))
        for name, value in whole.items()
    )


def _form_of_property(name: str, value: Any, protocol: str) -> Any:
    if name in librdkafka.CALLBACKS:
        return _identity(value)
    if name == librdkafka.SERVERS:
        found = brokers(value, protocol)
        # librdkafka starts with any of them, and asks it for all brokers.
        return sorted({each.lower() for each in found}) if found else str(value)
    return as_read(name, value)


def _identity(function: Any) -> Any:
    """What tells a callable from others. Each access to a method makes a new object."""
    owner = getattr(function, "__self__", None) if type(function) in _METHODS else None
    if owner is None or isinstance(owner, ModuleType):
        return id(function)
    if isinstance(function, MethodType):
        return "method", id(owner), _identity(function.__func__)
    return "method", id(owner), function.__name__
