"""Reads the user's librdkafka properties as librdkafka does; all code reads them here.

A property has aliases, may have the prefix `topic.`, and may stand in
`default.topic.config`. Its value may be text. If it is set several times, the last one
counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.plain import plain, whole

_TRUE = frozenset({"true", "t", "1"})


def given(kafka: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """Each name under which the user set the property, and the value, in order."""
    found = [key for key in librdkafka.spellings(name) if key in kafka]
    if len(found) > 1:
        found = [key for key in kafka if key in found]
    places = [(key, kafka[key]) for key in found]
    if librdkafka.TOPIC_DEFAULTS in kafka:
        # Last, because confluent-kafka sets the topic defaults last.
        inner = kafka[librdkafka.TOPIC_DEFAULTS]
        if isinstance(inner, Mapping):
            prefix = f"{librdkafka.TOPIC_DEFAULTS}."
            places += [(prefix + key, value) for key, value in given(inner, name)]
    return places


def is_set(kafka: Mapping[str, Any], name: str) -> bool:
    """Whether the user set the property, under any of its names."""
    return bool(given(kafka, name))


def value_of(kafka: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """The value that counts; `default` if the property is not set."""
    found = given(kafka, name)
    return found[-1][1] if found else default


def path_of(kafka: Mapping[str, Any], name: str) -> str:
    """The property's path in errors, as the user spelt it."""
    found = given(kafka, name)
    return f"kafka.{found[-1][0] if found else name}"


def text_of(kafka: Mapping[str, Any], name: str) -> str | None:
    """The value as text; None if it is not set, or empty."""
    value = value_of(kafka, name)
    return None if value is None or value == "" else str(value)


def word_of(kafka: Mapping[str, Any], name: str, default: str) -> str:
    """The value of an enumerated property, stripped and in lower case."""
    return (text_of(kafka, name) or default).strip().lower()


def truth_of(kafka: Mapping[str, Any], name: str) -> bool:
    """The value of a bool property that is false by default."""
    return str(value_of(kafka, name, default=False)).lower() in _TRUE


def number_of(kafka: Mapping[str, Any], name: str) -> int | None:
    """The value of a whole-number property; None if it is not a whole number."""
    value = value_of(kafka, name)
    if isinstance(value, str | float):
        try:
            return int(value)
        except (ValueError, OverflowError):
            return None
    return whole(value)


def decimal_of(kafka: Mapping[str, Any], name: str) -> float | None:
    """The value of a decimal property; None if it is not a number."""
    value = value_of(kafka, name)
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def without(names: Iterable[str], kafka: Mapping[str, Any]) -> dict[str, Any]:
    """`kafka` without these properties, under any of their names.

    Properties in the topic defaults are left out too.
    """
    unwanted = {spelling for name in names for spelling in librdkafka.spellings(name)}
    kept = {key: value for key, value in kafka.items() if key not in unwanted}
    inner = kept.get(librdkafka.TOPIC_DEFAULTS)
    if isinstance(inner, Mapping):
        kept[librdkafka.TOPIC_DEFAULTS] = rest = without(names, inner)
        if not rest:
            del kept[librdkafka.TOPIC_DEFAULTS]
    return kept


def merged(kafka: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`kafka` with the properties of `over`, which replace its own one by one."""
    over = {plain(key): value for key, value in over.items()}
    names = [key for key in over if isinstance(key, str)]
    return {**without(names, kafka), **over}
