"""Options given as text, in a URL or the environment, and beside other options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from waterdrop_py._settings.refusal import RefusedError
from waterdrop_py._settings.shown import kind

if TYPE_CHECKING:
    from waterdrop_py._settings.kinds import Option

Rows: TypeAlias = "Mapping[str, Option[Any, Any]]"
# Values of options, and what is wrong, each by the option's path.
Reading: TypeAlias = tuple[dict[str, Any], dict[str, str]]


def read_option(rows: Rows, name: str, text: str, into: Reading) -> None:
    """Read one option's text into the values, or what is wrong with it."""
    values, errors = into
    read = rows[name].from_text
    if read is None:
        errors[name] = "cannot be given as text; give it as a keyword beside it"
        return
    try:
        values[name] = read(text)
    except RefusedError as error:
        errors[name] = str(error)


def merge(into: Reading, options: Mapping[str, Any], where: str) -> None:
    """Add options; one that is there already is an error, `where` says from where."""
    values, errors = into
    for name, value in options.items():
        if name == "kafka":
            _merge_properties(into, value, where)
        elif name in values or name in errors:
            errors[name] = f"is given twice, in {where} and beside it"
        else:
            values[name] = value


def _merge_properties(into: Reading, kafka: object, where: str) -> None:
    values, errors = into
    if not isinstance(kafka, Mapping):
        errors["kafka"] = f"must be a mapping, not {kind(kafka)}"
        return
    own = values.setdefault("kafka", {})
    for name, value in kafka.items():
        if name in own:
            errors[f"kafka.{name}"] = f"is given twice, in {where} and beside it"
        else:
            own[name] = value
