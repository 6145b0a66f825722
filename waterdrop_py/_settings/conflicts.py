"""Finds properties that contradict each other, or that need something missing.

The rules are librdkafka's. It applies them when a client is made; the library applies
them when the producer is. Rules that are not listed here come from librdkafka itself
(`librdkafka_check.verdict`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from waterdrop_py._settings import librdkafka, servers
from waterdrop_py._settings.defaults import missing_defaults
from waterdrop_py._settings.reading import (
    decimal_of,
    given,
    is_set,
    number_of,
    path_of,
    text_of,
    truth_of,
    value_of,
    word_of,
)
from waterdrop_py._settings.redact import HIDDEN, shown, shown_property

Found = Iterator[tuple[str, str]]
_WITH_LOGIN: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def conflicts(kafka: Mapping[str, Any]) -> dict[str, str]:
    """Map each property that contradicts another, `kafka.<property>`, to a sentence."""
    errors: dict[str, str] = {}
    for rule in _RULES:
        for name, sentence in rule(kafka):
            errors.setdefault(path_of(kafka, name), sentence)
    return errors


def missing_servers(kafka: Mapping[str, Any]) -> dict[str, str]:
    """The error of properties that name no broker, by path."""
    if (text_of(kafka, librdkafka.SERVERS) or "").strip():
        return {}
    found = given(kafka, librdkafka.SERVERS)
    got = f", got {shown(found[-1][1])}" if found else ""
    return {
        path_of(
            kafka, librdkafka.SERVERS
        ): f"must name the brokers to connect to first, as 'host:9092,host:9092'{got}"
    }


def invalid_servers(kafka: Mapping[str, Any]) -> Found:
    """What is wrong with the brokers that the properties name."""
    path, value = given(kafka, librdkafka.SERVERS)[-1]
    if isinstance(value, str) and "@" in value:
        yield (
            f"kafka.{path}",
            f"must be host:port,host:port without a login, got "
            f"{shown_property(path, value)}: give a URL as Producer(url) or "
            "Config.from_url(url), or the login as sasl.username and sasl.password",
        )
        return
    protocol = word_of(kafka, "security.protocol", "plaintext")
    sentence = servers.wrong_servers(value, protocol)
    if sentence is not None:
        yield f"kafka.{path}", sentence


def missing_login(kafka: Mapping[str, Any]) -> dict[str, str]:
    """The parts of the login that the mechanism needs and that are missing."""
    protocol = word_of(kafka, "security.protocol", "plaintext")
    mechanism = (text_of(kafka, "sasl.mechanism") or "").strip()
    if not (protocol.startswith("sasl_") and mechanism in _WITH_LOGIN):
        return {}
    return {
        path_of(kafka, name): f"must be set when sasl.mechanism is {mechanism!r}"
        for name in ("sasl.username", "sasl.password")
        if text_of(kafka, name) is None
    }


def unreadable_files(kafka: Mapping[str, Any]) -> dict[str, str]:
    """The certificates, keys and other files that cannot be read, and why.

    Opens each file for a moment.
    """
    errors = {}
    for name in [name for name in librdkafka.FILES if name in kafka]:
        path = text_of(kafka, name)
        if path is None or (path == "probe" and name.endswith("ca.location")):
            continue
        why = _unreadable(
            path, folder=name.endswith(("ca.location", "engine.location"))
        )
        if why is not None:
            errors[f"kafka.{name}"] = (
                f"must be a file that can be read, got {_shown_path(path)}: {why}"
            )
    return errors


def _shown_path(path: str) -> str:
    """The whole path, or `[hidden]` if the user gave a key in place of its file."""
    return HIDDEN if shown(path) == HIDDEN else repr(path)


def _unreadable(path: str, *, folder: bool) -> str | None:
    """Why the file cannot be read, or None. `folder`: a folder is legal too."""
    if folder and os.path.isdir(path):
        return None if os.access(path, os.R_OK | os.X_OK) else "permission denied"
    try:
        with open(path, "rb"):
            return None
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def _idempotent(kafka: Mapping[str, Any]) -> str | None:
    """The setting that makes the producer idempotent, or None."""
    if text_of(kafka, "transactional.id"):
        return "a transactional.id is set"
    if truth_of(kafka, "enable.idempotence"):
        return "enable.idempotence is true"
    return None


def _idempotence_conflicts(kafka: Mapping[str, Any]) -> Found:
    why = _idempotent(kafka)
    if why is None:
        if truth_of(kafka, "enable.gapless.guarantee"):
            yield (
                "enable.gapless.guarantee",
                "must be false unless enable.idempotence is true",
            )
        return
    for name, legal, is_legal in _IDEMPOTENCE_NEEDS:
        if is_set(kafka, name) and not is_legal(kafka, name):
            value = shown_property(name, value_of(kafka, name))
            yield name, f"must be {legal} when {why}, got {value}"


def _timeout_conflicts(kafka: Mapping[str, Any]) -> Found:
    whole = {**missing_defaults(kafka, statistics=False), **kafka}
    message = number_of(whole, "message.timeout.ms")
    linger = decimal_of(kafka, "linger.ms")
    if message and linger is not None and message <= linger:
        yield (
            _property_at_fault(kafka, "linger.ms", "message.timeout.ms"),
            f"linger.ms ({linger:g} ms) must be below message.timeout.ms "
            f"({message} ms)",
        )
    if not text_of(kafka, "transactional.id"):
        return
    transaction = number_of(whole, "transaction.timeout.ms")
    if transaction is None:
        return
    if message is not None and message > transaction:
        yield (
            _property_at_fault(kafka, "message.timeout.ms", "transaction.timeout.ms"),
            f"message.timeout.ms ({message} ms) must be at most "
            f"transaction.timeout.ms ({transaction} ms)",
        )
    socket = number_of(kafka, "socket.timeout.ms")
    if socket is not None and socket > transaction + 100:
        yield (
            "socket.timeout.ms",
            f"must be at most transaction.timeout.ms ({transaction} ms) + 100, "
            f"got {socket}",
        )


def _backoff_conflicts(kafka: Mapping[str, Any]) -> Found:
    low = _number(kafka, "reconnect.backoff.ms", 100)
    high = _number(kafka, "reconnect.backoff.max.ms", 10_000)
    if low > high:
        name = _property_at_fault(
            kafka, "reconnect.backoff.max.ms", "reconnect.backoff.ms"
        )
        yield (
            name,
            f"reconnect.backoff.max.ms ({high} ms) must be at least "
            f"reconnect.backoff.ms ({low} ms)",
        )


def _misspelt_mechanism(kafka: Mapping[str, Any]) -> Found:
    mechanism = (text_of(kafka, "sasl.mechanism") or "").strip()
    if mechanism in librdkafka.MECHANISMS:
        return
    meant = [each for each in librdkafka.MECHANISMS if each == mechanism.upper()]
    if meant and is_set(kafka, "sasl.mechanism"):
        yield (
            "sasl.mechanism",
            f"must be {meant[0]!r} in this spelling, got {shown(mechanism)}",
        )


def _property_at_fault(kafka: Mapping[str, Any], *names: str) -> str:
    """The first of these properties that the user set."""
    return next((name for name in names if is_set(kafka, name)), names[0])


def _number(kafka: Mapping[str, Any], name: str, default: int) -> int:
    number = number_of(kafka, name)
    return default if number is None else number


# Property, legal values in words, and whether the value that is set is legal.
_IDEMPOTENCE_NEEDS: Final[
    tuple[tuple[str, str, Callable[[Mapping[str, Any], str], bool]], ...]
] = (
    ("enable.idempotence", "true", truth_of),
    ("acks", "'all'", lambda kafka, name: word_of(kafka, name, "all") in {"all", "-1"}),
    ("max.in.flight", "at most 5", lambda kafka, name: _number(kafka, name, 1) <= 5),  # noqa: PLR2004
    ("retries", "at least 1", lambda kafka, name: _number(kafka, name, 1) >= 1),
    (
        "queuing.strategy",
        "'fifo'",
        lambda kafka, name: word_of(kafka, name, "fifo") == "fifo",
    ),
    (
        "queue.buffering.backpressure.threshold",
        "1",
        lambda kafka, name: _number(kafka, name, 1) <= 1,
    ),
)
_RULES: Final[tuple[Callable[[Mapping[str, Any]], Found], ...]] = (
    _idempotence_conflicts,
    _timeout_conflicts,
    _backoff_conflicts,
    _misspelt_mechanism,
)
