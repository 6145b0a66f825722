"""librdkafka's own verdict on its properties, with no client started.

`confluent_kafka.Producer` sets one property after the other and stops at the first
that it refuses. A bogus one at the end therefore says, when it is the one refused,
that all before it are fine, and that no client was made: no thread, socket or
descriptor. (Conflicts between properties show when a client is opened.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaException, cimpl

from waterdrop_py._settings import known
from waterdrop_py._settings.options import option_meant
from waterdrop_py._settings.shown import kind, shown_property

_PROBE = "waterdrop.probe"
_RANGE = re.compile(r"outside allowed range (-?\d+)\.\.(-?\d+)")
# Hashes of the configurations that librdkafka found valid: of no secret can more be
# kept than 64 bits, and those are salted per process.
_accepted: set[int] = set()
_MOST_ACCEPTED = 1_024
_INSTEAD = {"dr_cb": "on_delivery", "dr_msg_cb": "on_delivery", "log_cb": "logger"}


def check_properties(kafka: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the properties: `kafka.<property>` to a sentence.

    Never blocks and opens nothing. Safe to call from any thread. A few microseconds
    for a configuration that was found valid before.
    """
    errors = dict(_callback_errors(kafka)) | dict(_server_errors(kafka))
    if known.PLUGINS in kafka:
        # A plugin may bring properties of its own, and only loading it, which runs
        # its code, would tell: the verdict comes when a client is opened.
        return errors
    flat = list(_flattened(kafka))
    mark = hash(frozenset((path, type(value), str(value)) for path, _, value in flat))
    if mark in _accepted:
        return errors
    refused = _refusal({name: value for _, name, value in flat})
    if refused is None:
        if len(_accepted) >= _MOST_ACCEPTED:
            _accepted.clear()
        _accepted.add(mark)
        return errors
    # An error names a property by librdkafka's name and not by the alias that was
    # given, and only the first: so each is asked about by itself.
    for path, name, value in flat:
        refused = _refusal({name: value})
        if refused is not None:
            errors[f"kafka.{path}"] = _sentence(name, value, refused)
    return errors


def _callback_errors(kafka: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in known.CALLBACKS:
        if name not in kafka:
            continue
        value = kafka[name]
        if name == "logger":
            if not callable(getattr(value, "log", None)):
                yield (
                    f"kafka.{name}",
                    f"must have a method log, as Logger; is {kind(value)}",
                )
        elif not callable(value):
            yield f"kafka.{name}", f"must be callable, not {kind(value)}"


def _server_errors(kafka: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A login has no place in them, and would be in each of librdkafka's log lines."""
    for name in known.SERVERS:
        value = kafka.get(name)
        if isinstance(value, str) and "@" in value:
            yield (
                f"kafka.{name}",
                f"{shown_property(name, value)} holds a login; host:port,host:port is "
                "legal: give a URL as Producer(url) or Config.from_url(url), or the "
                "login as sasl.username and sasl.password",
            )


def _flattened(kafka: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Path, name and value of each property, those of the topic defaults too.

    confluent-kafka would set the topic defaults after the bogus property, unchecked.
    """
    for name, value in kafka.items():
        if name == known.TOPIC_DEFAULTS and isinstance(value, Mapping):
            for inner, own in value.items():
                yield f"{name}.{inner}", inner, own
        elif name not in known.CALLBACKS:
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


def _sentence(name: str, value: object, refused: str) -> str:
    if refused.startswith("No such configuration property"):
        return f"is no property of librdkafka{_instead(name)}"
    if "must be set through dedicated" in refused or "not settable" in refused:
        return f"cannot be set here{_did_you_mean(_INSTEAD.get(name))}"
    given = shown_property(name, value)
    if bounds := _RANGE.search(refused):
        low, high = int(bounds[1]), int(bounds[2])
        nearest = low if isinstance(value, int) and value < low else high
        if isinstance(value, str) and value.lstrip().startswith("-"):
            nearest = low
        return (
            f"{given} is outside {low} to {high}{_unit(name)}; "
            f"the nearest legal value is {nearest}"
        )
    if refused.startswith("Expected bool value"):
        return f"must be true or false, not {given}"
    if refused.startswith("Invalid value") or "empty value" in refused:
        number = refused.startswith("Invalid value for")
        return f"{given} is no legal value{_legal(name, value, number=number)}"
    return refused if str(value) not in refused else f"{given} is refused by librdkafka"


def _legal(name: str, value: object, *, number: bool) -> str:
    legal = known.VALUES.get(name.removeprefix("topic."))
    if legal is None:
        return "; it takes a number" if number else ""
    meant = known.closest(str(value).lower(), legal.split(", "))
    return f"; legal are {legal}{_did_you_mean(meant)}"


def _unit(name: str) -> str:
    _, dot, last = name.rpartition(".")
    return f" {last}" if dot and last in {"ms", "bytes", "kbytes", "seconds"} else ""


def _instead(name: str) -> str:
    """A question that names the property, or the option, that was meant."""
    from waterdrop_py.config import Config  # it needs this module itself

    meant = None if name in Config.OPTIONS else known.property_meant(name)
    if meant is not None:
        return _did_you_mean(meant)
    option = option_meant(name, Config.OPTIONS)
    return f"; did you mean the option {option!r}?" if option else ""


def _did_you_mean(name: str | None) -> str:
    return f"; did you mean {name!r}?" if name else ""
