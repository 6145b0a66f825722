"""Options from environment variables that share a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waterdrop_py._settings import known
from waterdrop_py._settings.properties import check_properties
from waterdrop_py._settings.shown import kind
from waterdrop_py._settings.text import Reading, Rows, merge, read_option
from waterdrop_py._settings.url import read_url

_URL = "URL"
_KAFKA = "KAFKA_"


def read_env(
    prefix: str, environ: Mapping[str, str], options: Mapping[str, Any], rows: Rows
) -> Reading:
    """The options that the environment and those given beside it make."""
    reading: Reading = ({}, {})
    values, errors = reading
    url = None
    for variable, text in _under(prefix, environ, errors).items():
        name = variable.removeprefix(prefix)
        if name == _URL:
            url = text
        elif name.startswith(_KAFKA) and name.isupper() and name != _KAFKA:
            property_name = _property(name.removeprefix(_KAFKA))
            values.setdefault("kafka", {})[property_name] = text
        elif name.isupper() and name.lower() in rows and name.lower() != "kafka":
            read_option(rows, name.lower(), text, reading)
        else:
            errors[variable] = _unknown(prefix, name, rows)
    errors.update(check_properties(values.get("kafka", {})))
    merge(reading, options, "the environment")
    if url is None:
        return reading
    values, url_errors = read_url(url, values, rows)
    return values, {**errors, **url_errors}


def _under(prefix: object, environ: object, errors: dict[str, str]) -> dict[str, str]:
    """The variables under the prefix, sorted; and what is wrong with what was given."""
    if not isinstance(prefix, str):
        errors["prefix"] = f"must be a str, not {kind(prefix)}"
    if not isinstance(environ, Mapping):
        errors["environ"] = f"must be a mapping of str to str, not {kind(environ)}"
    if not isinstance(prefix, str) or not isinstance(environ, Mapping):
        return {}
    names = [name for name in environ if isinstance(name, str)]
    found = {name: environ[name] for name in sorted(names) if name.startswith(prefix)}
    for name in [name for name, text in found.items() if not isinstance(text, str)]:
        errors[name] = f"must be a str, not {kind(found.pop(name))}"
    return found


def _property(name: str) -> str:
    by_variable = {_variable(known_name): known_name for known_name in known.PROPERTIES}
    return by_variable.get(name, name.lower().replace("_", "."))


def _unknown(prefix: str, name: str, rows: Rows) -> str:
    legal = [_URL, *(row.upper() for row in rows if row != "kafka")]
    legal += [_KAFKA + _variable(known_name) for known_name in known.PROPERTIES]
    meant = known.closest(name.upper(), legal)
    hint = f"; did you mean {prefix + meant!r}?" if meant else ""
    return f"names no option and no {prefix}{_KAFKA}<PROPERTY>{hint}"


def _variable(name: str) -> str:
    return name.upper().replace(".", "_")
