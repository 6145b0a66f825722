"""Reads options from environment variables that share a prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.properties import copied
from waterdrop_py._settings.redact import kind
from waterdrop_py._settings.table import foreign_setting, option_with_words
from waterdrop_py._settings.text_sources import (
    Reading,
    Rows,
    join,
    override,
    read_option,
)
from waterdrop_py._settings.url import add_mechanism, read_url

_URL = "URL"
_KAFKA = "KAFKA_"
# Variables that Kubernetes and Docker's links set for a Service whose name begins with
# the prefix.
_SERVICE = re.compile(
    r"(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(r"(?:[A-Z0-9_]+_)?PORT")
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://\S+")


def read_config(
    prefix: str,
    environ: Mapping[str, str],
    rows: Rows,
    options: Mapping[str, Any],
) -> tuple[Reading, dict[str, str]]:
    """Read the environment under `options`, and which variable each path comes from.

    The errors have librdkafka's verdict on the properties.
    """
    from waterdrop_py._settings.librdkafka_check import check_properties

    reading, origins = read_env(prefix, environ, rows)
    given = {f"kafka.{name}" for name in options.get("kafka") or ()}
    origins = {k: v for k, v in origins.items() if k not in options.keys() | given}
    override(reading, options)
    values, errors = reading
    kafka = values.get("kafka")
    if isinstance(kafka, dict) and "url" not in errors:
        add_mechanism(kafka)
    verdict = check_properties(copied(values["kafka"])[0], rows) if kafka else {}
    return (values, {**verdict, **errors}), origins


def read_env(
    prefix: str, environ: Mapping[str, str], rows: Rows
) -> tuple[Reading, dict[str, str]]:
    """Read the options, and which variable each path comes from."""
    reading: Reading = ({}, {})
    values, errors = reading
    origins: dict[str, str] = {}
    url = None
    for variable, text in _under(prefix, environ, errors).items():
        name = variable.removeprefix(prefix)
        if name == _URL:
            url = text
            origins["url"] = variable
        elif _of_a_service(name, text):
            continue
        elif name.startswith(_KAFKA) and name.isupper() and name != _KAFKA:
            property_name = _property(name.removeprefix(_KAFKA))
            values.setdefault("kafka", {})[property_name] = text
            origins[f"kafka.{property_name}"] = variable
        elif name.isupper() and name.lower() in rows and name.lower() != "kafka":
            read_option(rows, name.lower(), text, reading)
            origins[name.lower()] = variable
        else:
            errors[variable] = _unknown(prefix, name, rows)
    if url is None:
        return reading, origins
    read = read_url(url, rows)
    join(read, values, "is given twice: in the URL and in a variable of its own")
    read[1].update({**errors, **read[1]})
    return read, origins


def named(errors: Mapping[str, str], origins: Mapping[str, str]) -> dict[str, str]:
    """Add to each error the variable that it comes from."""
    return {
        path: f"{sentence} (from {origins[path]})" if path in origins else sentence
        for path, sentence in errors.items()
    }


def _under(prefix: object, environ: object, errors: dict[str, str]) -> dict[str, str]:
    """The variables under the prefix, sorted; ill-typed ones go into `errors`."""
    if not isinstance(prefix, str):
        errors["prefix"] = f"must be a str, got {kind(prefix)}"
    if not isinstance(environ, Mapping):
        errors["environ"] = f"must be a mapping of str to str, got {kind(environ)}"
    if not isinstance(prefix, str) or not isinstance(environ, Mapping):
        return {}
    names = [name for name in environ if isinstance(name, str)]
    found = {name: environ[name] for name in sorted(names) if name.startswith(prefix)}
    for name in [name for name, text in found.items() if not isinstance(text, str)]:
        errors[name] = f"must be a str, got {kind(found.pop(name))}"
    return found


def _of_a_service(name: str, text: str) -> bool:
    """Whether Kubernetes set this variable, rather than the user."""
    if _SERVICE.fullmatch(name):
        return True
    named = _SERVICE_PORT.fullmatch(name) is not None
    return named and _SERVICE_ADDRESS.fullmatch(text) is not None


def _property(name: str) -> str:
    """The librdkafka property that a variable's name stands for."""
    by_variable = {
        _variable(known_name): known_name for known_name in librdkafka.PROPERTIES
    }
    return by_variable.get(name, name.lower().replace("_", "."))


def _unknown(prefix: str, name: str, rows: Rows) -> str:
    """The sentence for a variable that is neither an option nor a property."""
    found = foreign_setting(name)
    if found is not None and not found.meant:
        hint = f"; {found.sentence}"
    else:
        meant = _closest(name, rows) if found is None else _variable(found.meant)
        if found is not None and found.is_property:
            meant = f"{_KAFKA}{meant}"
        hint = f"; did you mean {prefix + meant!r}?" if meant else ""
    return f"names neither an option nor a {prefix}{_KAFKA}<PROPERTY>{hint}"


def _closest(name: str, rows: Rows) -> str | None:
    """The end of the variable that was probably meant, or None."""
    options = [row for row in rows if row != "kafka"]
    if option := option_with_words(name.lower(), options):
        return option.upper()
    legal = [_URL, *(option.upper() for option in options)]
    legal += [_KAFKA + _variable(known_name) for known_name in librdkafka.PROPERTIES]
    return librdkafka.closest(name.upper(), legal)


def _variable(name: str) -> str:
    return name.upper().replace(".", "_")
