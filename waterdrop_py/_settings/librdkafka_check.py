"""Asks librdkafka what is wrong with its properties, without starting a client.

`confluent_kafka.Producer` sets the properties in order and stops at the first one that
it refuses. A bogus property at the end is always refused. When the bogus one is named,
all others are legal. No client was made then: no thread, socket or descriptor.

librdkafka also takes values that it misreads. The kind of a property shows which values
those are (`property_kinds.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaException, cimpl

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.callables import STARTS, WAITS, async_error
from waterdrop_py._settings.conflicts import conflicts, invalid_servers
from waterdrop_py._settings.defaults import missing_defaults
from waterdrop_py._settings.numbers import (
    misread_decimal,
    misread_whole,
    not_a_number,
    out_of_range,
)
from waterdrop_py._settings.property_kinds import OUTSIDE_RANGE, kind_of, refusal
from waterdrop_py._settings.reading import path_of, text_of
from waterdrop_py._settings.redact import kind, shown_property
from waterdrop_py._settings.table import foreign_setting, option_meant

_BOGUS_MECHANISM = "WATERDROP_PROBE"
# confluent-kafka's own property, and a file that `unreadable_files` checks.
_NOT_JUDGED = ("delivery.report.only.error", "https.ca.location")
_ACKS = librdkafka.names_of("acks")
_NAMED = re.compile(r"`([a-z._]+)`")
# Hashes of the configurations that librdkafka found valid. A hash keeps at most 64 bits
# of a secret, salted per process.
_accepted: set[int] = set()
_MOST_ACCEPTED = 1_024
_INSTEAD = {"dr_cb": "on_delivery", "dr_msg_cb": "on_delivery", "log_cb": "logger"}


def check_properties(
    kafka: Mapping[str, Any], options: Collection[str] = ()
) -> dict[str, str]:
    """Map the path of each wrong property, `kafka.<property>`, to a sentence.

    Properties that contradict each other are wrong too. A sentence about an unknown
    property may suggest one of Config's `options`.

    Never blocks and opens nothing. Thread-safe. Takes a few microseconds for a
    configuration that was found valid before.
    """
    errors = dict(_callback_errors(kafka))
    flat = list(_flattened(kafka))
    key = hash(frozenset((path, type(value), str(value)) for path, _, value in flat))
    if key in _accepted:
        return errors
    if (text_of(kafka, librdkafka.SERVERS) or "").strip():
        # A missing property is an error of `missing_servers`: doubles need no brokers.
        errors.update(invalid_servers(kafka))
    if librdkafka.PLUGINS in kafka:
        # A plugin may define properties, and only loading it would show them. Loading
        # runs its code, so librdkafka judges them when a client is opened.
        return errors
    own = dict(kafka)  # a plain dict is faster to read many times
    wrong = {**conflicts(own), **dict(_wrong_values(flat, options))}
    if not wrong and not errors:
        wrong = verdict(own)
    if not wrong and not errors:
        if len(_accepted) >= _MOST_ACCEPTED:
            _accepted.clear()
        _accepted.add(key)
    return {**errors, **wrong}


def verdict(kafka: Mapping[str, Any]) -> dict[str, str]:
    """What librdkafka has against the properties as a whole, by path.

    librdkafka checks the mechanism after all its rules and before it starts a thread.
    A bogus mechanism is therefore refused last, and no client is made.
    """
    whole = {**missing_defaults(kafka, statistics=False), **kafka}
    topic_defaults = whole.pop(librdkafka.TOPIC_DEFAULTS, None)
    if isinstance(topic_defaults, Mapping):
        whole.update(topic_defaults)
    conf = {
        name: value
        for name, value in whole.items()
        if name not in librdkafka.CALLBACKS and name not in _NOT_JUDGED
    }
    for alias in librdkafka.names_of("sasl.mechanism"):
        conf.pop(alias, None)
    conf["security.protocol"] = "sasl_plaintext"
    conf["sasl.mechanism"] = _BOGUS_MECHANISM
    try:
        cimpl.Producer(conf)
    except KafkaException as error:
        text = str(error.args[0].str()).removeprefix("Failed to create producer: ")
        if _BOGUS_MECHANISM in text:
            return {}
        named = _NAMED.search(text)
        return {path_of(kafka, named[1]) if named else "kafka": text}
    return {}  # pragma: no cover - no librdkafka knows the mechanism


def _wrong_values(
    flat: list[tuple[str, str, Any]], options: Collection[str]
) -> Iterator[tuple[str, str]]:
    # librdkafka names only the first wrong property, and not by the alias that the
    # user wrote. So each property is tried by itself.
    all_taken = refusal({name: value for _, name, value in flat}) is None
    for path, name, value in flat:
        refused = None if all_taken else refusal({name: value})
        sentence = _misread(name, value)
        if sentence is None and refused is not None:
            sentence = _sentence(name, value, refused, options)
        if sentence is not None:
            yield f"kafka.{path}", sentence


def _misread(name: str, value: object) -> str | None:
    """What is wrong with a value that librdkafka takes, or None."""
    property_kind = kind_of(name)
    if property_kind.number == "whole":
        if name.removeprefix("topic.") in _ACKS and str(value).lower() == "all":
            return None
        wrong = misread_whole(name, value, property_kind.low, property_kind.high)
        return wrong and f"{wrong}{_legal(name, value)}"
    if property_kind.number == "decimal":
        return misread_decimal(name, value)
    if property_kind.enumerated and not str(value).strip(" ,\t\r\n"):
        return (
            f"must not be blank, got {shown_property(name, value)}{_legal(name, value)}"
        )
    return None


def _callback_errors(kafka: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in librdkafka.CALLBACKS:
        if name not in kafka:
            continue
        value = kafka[name]
        is_logger = name == "logger"
        called = getattr(value, "log", None) if is_logger else value
        if not callable(called):
            must = (
                "have a method log, like logging.Logger" if is_logger else "be callable"
            )
            yield f"kafka.{name}", f"must {must}, got {kind(value)}"
        elif sentence := async_error(called, WAITS if name == "oauth_cb" else STARTS):
            yield f"kafka.{name}", f"log {sentence}" if is_logger else sentence


def _flattened(kafka: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Path, name and value of each property, those in the topic defaults included.

    confluent-kafka sets the topic defaults after the bogus property: unchecked.
    """
    for name, value in kafka.items():
        if name == librdkafka.TOPIC_DEFAULTS and isinstance(value, Mapping):
            for inner, own in value.items():
                yield f"{name}.{inner}", inner, own
        elif name not in librdkafka.CALLBACKS:
            yield name, name, value


def _sentence(name: str, value: object, refused: str, options: Collection[str]) -> str:
    """What the user is told of a value that librdkafka refused with `refused`."""
    if refused.startswith("No such configuration property"):
        return f"is not a property of librdkafka{_instead(name, options)}"
    if "must be set through dedicated" in refused or "not settable" in refused:
        return f"cannot be set here{_did_you_mean(_INSTEAD.get(name))}"
    if bounds := OUTSIDE_RANGE.search(refused):
        return out_of_range(name, value, int(bounds[1]), int(bounds[2]))
    given = shown_property(name, value)
    if refused.startswith(("Expected bool value", "Bool config")):
        return f"must be true or false, got {given}"
    if refused.startswith("Invalid value") or "empty value" in refused:
        number = kind_of(name).number
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
    return f"; legal values are {legal}{_did_you_mean(meant)}"


def _instead(name: str, options: Collection[str]) -> str:
    """A hint with the property, or the option, that was probably meant."""
    found = foreign_setting(name)
    if found is not None and not found.meant:
        return f"; {found.sentence}"
    meant = None if name in options else librdkafka.property_meant(name)
    if meant is not None:
        return _did_you_mean(meant)
    dotted = name.lower().replace("_", ".")
    option = librdkafka.FOREIGN_OPTIONS.get(dotted) or option_meant(name, options)
    return f"; did you mean the option {option!r}?" if option else ""


def _did_you_mean(name: str | None) -> str:
    return f"; did you mean {name!r}?" if name else ""
