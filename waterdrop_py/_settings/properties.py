"""librdkafka's own verdict on its properties, with no client started.

`confluent_kafka.Producer` sets one property after the other and stops at the first
that it refuses. A bogus one at the end therefore says, when it is the one refused,
that all before it are fine, and that no client was made: no thread, socket or
descriptor. What librdkafka takes and misreads is found by the kind of the property,
which its refusal of a nonsensical value tells.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, cimpl

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.conflicts import conflicts, verdict, wrong_servers
from waterdrop_py._settings.numbers import (
    misread_decimal,
    misread_whole,
    not_a_number,
    out_of_range,
)
from waterdrop_py._settings.reading import text_of
from waterdrop_py._settings.redact import kind, shown_property
from waterdrop_py._settings.table import option_meant

_PROBE = "waterdrop.probe"
_NONSENSE = "waterdrop-probe"
_ACKS = librdkafka.names_of("acks")
_RANGE = re.compile(r"outside allowed range (-?\d+)\.\.(-?\d+)")
# Hashes of the configurations that librdkafka found valid: of no secret can more be
# kept than 64 bits, and those are salted per process.
_accepted: set[int] = set()
_MOST_ACCEPTED = 1_024
_INSTEAD = {"dr_cb": "on_delivery", "dr_msg_cb": "on_delivery", "log_cb": "logger"}


class _Kind(NamedTuple):
    """What sort of value a property takes, as far as librdkafka tells."""

    number: str = ""  # "whole" or "decimal"
    enumerated: bool = False
    low: int = 0
    high: int = 0


def check_properties(
    kafka: Mapping[str, Any], options: Collection[str] = ()
) -> dict[str, str]:
    """What is wrong with the properties: `kafka.<property>` to a sentence.

    A sentence about an unknown property may suggest one of Config's `options`.
    Also what contradicts something else. Never blocks and opens nothing. Safe to call
    from any thread. A few microseconds for a configuration that was found valid before.
    """
    errors = dict(_callback_errors(kafka))
    flat = list(_flattened(kafka))
    mark = hash(frozenset((path, type(value), str(value)) for path, _, value in flat))
    if mark in _accepted:
        return errors
    if (text_of(kafka, librdkafka.SERVERS) or "").strip():
        errors.update(wrong_servers(kafka))  # else it is missing; doubles need none
    if librdkafka.PLUGINS in kafka:
        # A plugin may bring properties of its own, and only loading it, which runs
        # its code, would tell: the verdict comes when a client is opened.
        return errors
    wrong = dict(_wrong_values(flat, options))
    own = dict(kafka)  # many looks at it
    wrong = {**conflicts(own), **wrong}
    if not wrong and not errors:
        wrong = verdict(own)
    if not wrong and not errors:
        if len(_accepted) >= _MOST_ACCEPTED:
            _accepted.clear()
        _accepted.add(mark)
    return {**errors, **wrong}


def _wrong_values(
    flat: list[tuple[str, str, Any]], options: Collection[str]
) -> Iterator[tuple[str, str]]:
    # An error names a property by librdkafka's name and not by the alias that was
    # given, and only the first: so each is asked about by itself.
    all_taken = _refusal({name: value for _, name, value in flat}) is None
    for path, name, value in flat:
        refused = None if all_taken else _refusal({name: value})
        sentence = _misread(name, value)
        if sentence is None and refused is not None:
            sentence = _sentence(name, value, refused, options)
        if sentence is not None:
            yield f"kafka.{path}", sentence


def _misread(name: str, value: object) -> str | None:
    """What is wrong with a value that librdkafka takes, or None."""
    sort = _kind_of(name)
    if sort.number == "whole":
        if name.removeprefix("topic.") in _ACKS and str(value).lower() == "all":
            return None
        wrong = misread_whole(name, value, sort.low, sort.high)
        return wrong and f"{wrong}{_legal(name, value)}"
    if sort.number == "decimal":
        return misread_decimal(name, value)
    if sort.enumerated and not str(value).strip(" ,\t\r\n"):
        return (
            f"must not be blank, got {shown_property(name, value)}{_legal(name, value)}"
        )
    return None


@functools.lru_cache(maxsize=512)
def _kind_of(name: str) -> _Kind:
    refused = _refusal({name: _NONSENSE}) or ""
    if refused.startswith("Invalid value for"):
        bounds = [
            _RANGE.search(_refusal({name: figure}) or "")
            for figure in (-(2**31), 2**31 - 1)
        ]
        found = bounds[0] or bounds[1]
        if found is None:
            # Its range is all that fits, or it is no number (a partitioner).
            taken = _refusal({name: 2**31 - 1}) is None
            return _Kind("whole", low=-(2**31), high=2**31 - 1) if taken else _Kind()
        low, high = int(found[1]), int(found[2])
        fraction = _refusal({name: ".5"}) or ""
        number = "whole" if fraction.startswith("Invalid value") else "decimal"
        return _Kind(number, low=low, high=high)
    return _Kind(enumerated=refused.startswith(f'Invalid value "{_NONSENSE}'))


def _callback_errors(kafka: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in librdkafka.CALLBACKS:
        if name not in kafka:
            continue
        value = kafka[name]
        if name == "logger":
            if not callable(getattr(value, "log", None)):
                yield (
                    f"kafka.{name}",
                    f"must have a method log, as Logger, got {kind(value)}",
                )
        elif not callable(value):
            yield f"kafka.{name}", f"must be callable, got {kind(value)}"


def _flattened(kafka: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Path, name and value of each property, those of the topic defaults too.

    confluent-kafka would set the topic defaults after the bogus property, unchecked.
    """
    for name, value in kafka.items():
        if name == librdkafka.TOPIC_DEFAULTS and isinstance(value, Mapping):
            for inner, own in value.items():
                yield f"{name}.{inner}", inner, own
        elif name not in librdkafka.CALLBACKS:
            yield name, name, value


def _refusal(kafka: dict[str, Any]) -> str | None:
    """What librdkafka has against these properties, or None."""
    try:
        cimpl.Producer({**kafka, _PROBE: ""})
    except KafkaException as error:
        text = str(error.args[0].str()).strip()
    except (TypeError, ValueError, AttributeError, SystemError) as error:
        text = str(error)
    else:  # pragma: no cover - no librdkafka takes the bogus property
        return None
    return None if f'"{_PROBE}"' in text else text


def _sentence(name: str, value: object, refused: str, options: Collection[str]) -> str:
    if refused.startswith("No such configuration property"):
        return f"is not a property of librdkafka{_instead(name, options)}"
    if "must be set through dedicated" in refused or "not settable" in refused:
        return f"cannot be set here{_did_you_mean(_INSTEAD.get(name))}"
    if bounds := _RANGE.search(refused):
        return out_of_range(name, value, int(bounds[1]), int(bounds[2]))
    given = shown_property(name, value)
    if refused.startswith(("Expected bool value", "Bool config")):
        return f"must be true or false, got {given}"
    if refused.startswith("Invalid value") or "empty value" in refused:
        number = _kind_of(name).number
        if number:
            sentence = not_a_number(name, value, decimal=number == "decimal")
        else:
            sentence = f"must be a legal value, got {given}"
        return f"{sentence}{_legal(name, value)}"
    return refused if str(value) not in refused else f"{given} is refused by librdkafka"


def _legal(name: str, value: object) -> str:
    legal = librdkafka.VALUES.get(name.removeprefix("topic."))
    if legal is None:
        return ""
    meant = librdkafka.closest(str(value).strip().lower(), legal.split(", "))
    return f"; legal are {legal}{_did_you_mean(meant)}"


def _instead(name: str, options: Collection[str]) -> str:
    """A question that names the property, or the option, that was meant."""
    meant = None if name in options else librdkafka.property_meant(name)
    if meant is not None:
        return _did_you_mean(meant)
    dotted = name.lower().replace("_", ".")
    option = librdkafka.FOREIGN_OPTIONS.get(dotted) or option_meant(name, options)
    return f"; did you mean the option {option!r}?" if option else ""


def _did_you_mean(name: str | None) -> str:
    return f"; did you mean {name!r}?" if name else ""
