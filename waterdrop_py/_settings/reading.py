"""librdkafka's properties as librdkafka reads them: the one reading that there is.

A property has aliases, may be spelt with `topic.` in front or stand in
`default.topic.config`, and its value may be text. Of several the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.plain import plain, whole

_TRUE = frozenset({"true", "t", "1"})


def given(kafka: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """Where the user set a property, and to what; the last one counts."""
    found = [key for key in librdkafka.spellings(name) if key in kafka]
    if len(found) > 1:
        found = [key for key in kafka if key in found]
    places = [(key, kafka[key]) for key in found]
    if librdkafka.TOPIC_DEFAULTS in kafka:
        inner = kafka[librdkafka.TOPIC_DEFAULTS]  # confluent-kafka sets these last
        if isinstance(inner, Mapping):
            start = f"{librdkafka.TOPIC_DEFAULTS}."
            places += [(start + key, value) for key, value in given(inner, name)]
    return places


def is_set(kafka: Mapping[str, Any], name: str) -> bool:
    """Whether the user set the property, under any of its names."""
    return bool(given(kafka, name))


def value_of(kafka: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """The value that counts; `default` where there is none."""
    found = given(kafka, name)
    return found[-1][1] if found else default


def path_of(kafka: Mapping[str, Any], name: str) -> str:
    """The property's path in an error, as the user spelt it."""
    found = given(kafka, name)
    return f"kafka.{found[-1][0] if found else name}"


def text_of(kafka: Mapping[str, Any], name: str) -> str | None:
    """The value as text; None where it is not set, which empty text is as well."""
    value = value_of(kafka, name)
    return None if value is None or value == "" else str(value)


def word_of(kafka: Mapping[str, Any], name: str, default: str) -> str:
    """The value of an enumerated property: no blanks around it, lower case."""
    return (text_of(kafka, name) or default).strip().lower()


def truth_of(kafka: Mapping[str, Any], name: str) -> bool:
    """The value of a property that is off by default."""
    return str(value_of(kafka, name, default=False)).lower() in _TRUE


def number_of(kafka: Mapping[str, Any], name: str) -> int | None:
    """The figure of a whole-number property; None where it is not one."""
    value = value_of(kafka, name)
    if isinstance(value, str | float):
        try:
            return int(value)
        except (ValueError, OverflowError):
            return None
    return whole(value)


def decimal_of(kafka: Mapping[str, Any], name: str) -> float | None:
    """The figure of a property that takes fractions; None where it is not one."""
    value = value_of(kafka, name)
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def without(names: Iterable[str], kafka: Mapping[str, Any]) -> dict[str, Any]:
    """`kafka` without these properties, however and wherever they are spelt."""
    spelt = {spelling for name in names for spelling in librdkafka.spellings(name)}
    kept = {key: value for key, value in kafka.items() if key not in spelt}
    inner = kept.get(librdkafka.TOPIC_DEFAULTS)
    if isinstance(inner, Mapping):
        kept[librdkafka.TOPIC_DEFAULTS] = rest = without(names, inner)
        if not rest:
            del kept[librdkafka.TOPIC_DEFAULTS]
    return kept


def merged(kafka: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`kafka` with the properties of `over` in place of its own, one by one."""
    over = {plain(key): value for key, value in over.items()}
    names = [key for key in over if isinstance(key, str)]
    return {**without(names, kafka), **over}
