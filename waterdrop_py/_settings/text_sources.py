"""Reads options that are text (a URL, the environment), and merges keyword options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from waterdrop_py._settings.reading import is_set, merged
from waterdrop_py._settings.redact import kind
from waterdrop_py._settings.rejected import RefusedError

if TYPE_CHECKING:
    from waterdrop_py._settings.option_types import Option

Rows: TypeAlias = "Mapping[str, Option[Any, Any]]"
# Values of options, and errors, both by the option's path.
Reading: TypeAlias = tuple[dict[str, Any], dict[str, str]]


def read_option(rows: Rows, name: str, text: str, into: Reading) -> None:
    """Read the text of an option: into the values, or into the errors."""
    values, errors = into
    read = rows[name].from_text
    if read is None:
        errors[name] = "cannot be given as text; pass it as a keyword argument"
        return
    try:
        values[name] = read(text)
    except RefusedError as error:
        errors[name] = str(error)


def join(into: Reading, options: Mapping[str, Any], twice: str) -> None:
    """Add options. One that is set already is an error, with the sentence `twice`."""
    values, errors = into
    for name, value in options.items():
        if name == "kafka":
            own = values.setdefault("kafka", {})
            for inner, each in value.items():
                if is_set(own, inner):
                    errors[f"kafka.{inner}"] = twice
                else:
                    own[inner] = each
        elif name in values or name in errors:
            errors[name] = twice
        else:
            values[name] = value


def override(into: Reading, options: Mapping[str, Any]) -> None:
    """Replace values by options; `kafka` is merged, property by property."""
    values, errors = into
    for name, value in options.items():
        own = values.get(name)
        if name != "kafka":
            values[name] = value
            errors.pop(name, None)
        elif not isinstance(value, Mapping):
            errors["kafka"] = f"must be a mapping, got {kind(value)}"
        elif isinstance(own, Mapping):
            values[name] = merged(own, value)
        else:
            values[name] = value
