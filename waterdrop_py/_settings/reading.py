"""librdkafka's properties as librdkafka reads them: the one reading that there is.

A property has aliases, may be spelt with `topic.` in front or stand in
`default.topic.config`, and its value may be text. Of several the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from waterdrop_py._settings import known
from waterdrop_py._settings.plain import whole

_TRUE = frozenset({"true", "t", "1"})
_TOPIC = "topic."


def given(kafka: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """Where the user set a property, and to what; the last one counts."""
    names = known.names_of(name)
    found: list[tuple[str, Any]] = []
    inner: object = None
    for key, value in kafka.items():
        if key == known.TOPIC_DEFAULTS:
            inner = value  # confluent-kafka sets these last
        elif key in names or (
            key.startswith(_TOPIC) and key.removeprefix(_TOPIC) in names
        ):
            found.append((key, value))
    if isinstance(inner, Mapping):
        found += [(f"{known.TOPIC_DEFAULTS}.{k}", v) for k, v in given(inner, name)]
    return found


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
    spelt = frozenset().union(*map(known.names_of, names))
    kept = {
        key: value
        for key, value in kafka.items()
        if key not in spelt and key.removeprefix(_TOPIC) not in spelt
    }
    inner = kept.pop(known.TOPIC_DEFAULTS, None)
    if isinstance(inner, Mapping):
        rest = without(names, inner)
        if rest:
            kept[known.TOPIC_DEFAULTS] = rest
    elif inner is not None:
        kept[known.TOPIC_DEFAULTS] = inner
    return kept


def merged(kafka: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`kafka` with the properties of `over` in place of its own, one by one."""
    names = [key for key in over if isinstance(key, str)]
    return {**without(names, kafka), **over}
