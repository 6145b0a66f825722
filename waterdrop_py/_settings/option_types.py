"""Declares the kinds of option: what is legal, and how it is checked and read.

An option is one line in the body of `Config`: `name: Kind = kind(default, ...)`. The
type says what may be given and what the attribute returns; the call says how it is
checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic_core import PydanticCustomError
from pydantic_core import core_schema as schemas

from waterdrop_py._settings.durations import connection_milliseconds, milliseconds
from waterdrop_py._settings.plain import plain, whole
from waterdrop_py._settings.properties import Properties, copied
from waterdrop_py._settings.redact import kind, shown
from waterdrop_py._settings.rejected import RefusedError

Given_contra = TypeVar("Given_contra", contravariant=True)
Kept_co = TypeVar("Kept_co", covariant=True)
FromText: TypeAlias = Callable[[str], object]
REQUIRED: Any = object()


class Option(Generic[Given_contra, Kept_co]):
    """One option: its default, its check, and how it is read from text.

    Type checkers see a descriptor, which lets a user pass `"5m"` and get an int. At run
    time only the default stays on the class.
    """

    def __init__(
        self,
        default: Any,
        schema: schemas.CoreSchema,
        *,
        expects: str = "",
        from_text: FromText | None = None,
    ) -> None:
        self.default = default
        self.schema = schema
        self.expects = expects
        self.from_text = from_text

    def __get__(self, config: object, owner: type | None = None) -> Kept_co:
        raise NotImplementedError

    def __set__(self, config: object, value: Given_contra) -> None:
        raise NotImplementedError


Duration: TypeAlias = Option[int | timedelta | str, int]
OptionalDuration: TypeAlias = Option[int | timedelta | str | None, int | None]
OptionalCount: TypeAlias = Option[int | None, int | None]
Count: TypeAlias = Option[int, int]
ErrorNames: TypeAlias = Option[tuple[str, ...] | list[str], tuple[str, ...]]
Steps: TypeAlias = Option[Sequence[Callable[..., Any]], tuple[Callable[..., Any], ...]]
Flag: TypeAlias = Option[bool, bool]
OptionalText: TypeAlias = Option[str | None, str | None]
Labels: TypeAlias = Option[Mapping[str, str], Mapping[str, str]]
KafkaProperties: TypeAlias = Option[Mapping[str, Any], Mapping[str, Any]]


def duration(default: int) -> Any:
    """Milliseconds, at least 0."""
    return Option(default, _checked(milliseconds), from_text=str)


def optional_duration(default: int | None) -> Any:
    """Milliseconds, at least 0, or None."""
    schema = schemas.nullable_schema(_checked(milliseconds))
    return Option(default, schema, from_text=_none_or(str))


def connection_duration(default: int) -> Any:
    """Milliseconds after which a client is closed; 0 is never."""
    return Option(default, _checked(connection_milliseconds), from_text=str)


def optional_count(default: int | None, *, minimum: int, unit: str) -> Any:
    """An int of `unit`, or None."""
    schema = schemas.nullable_schema(_int_schema(minimum))
    expects = f"an int of {unit}, at least {minimum}, or None"
    return Option(default, schema, expects=expects, from_text=_none_or(_count))


def count(default: int, *, minimum: int, unit: str) -> Any:
    """An int of `unit`."""
    expects = f"an int of {unit}, at least {minimum}"
    schema = _int_schema(minimum)
    return Option(default, schema, expects=expects, from_text=_count)


def error_names(default: tuple[str, ...]) -> Any:
    """A tuple or list of lower-case error names; as text, separated by commas."""
    return Option(default, _checked(_error_names), from_text=_names_of_text)


def steps() -> Any:
    """A sequence of callables; cannot be given as text."""
    return Option((), _checked(_steps))


def flag(default: bool) -> Any:
    """True or False, and no value that merely counts as one."""
    schema = schemas.bool_schema(strict=True)
    return Option(default, schema, expects="True or False", from_text=_flag)


def optional_text(default: str | None) -> Any:
    """A non-empty str, or None."""
    schema = schemas.no_info_before_validator_function(
        plain,
        schemas.nullable_schema(schemas.str_schema(strict=True, min_length=1)),
    )
    expects = "a non-empty str, or None"
    return Option(default, schema, expects=expects, from_text=str)


def labels() -> Any:
    """A mapping of str to str, copied and read-only."""
    return Option(MappingProxyType({}), _checked(_labels), from_text=_labels_of_text)


def function(default: Any, *, contract: str) -> Any:
    """A callable; cannot be given as text."""
    schema: schemas.CoreSchema = schemas.callable_schema()
    if default is None:
        schema = schemas.nullable_schema(schema)
        contract = f"{contract}, or None"
    return Option(default, schema, expects=f"callable as {contract}")


def positional(*, default: Any, kw_only: bool) -> Any:
    """For type checkers: an argument of the constructor that is not an option."""
    raise NotImplementedError


def properties(*, default: Any) -> Any:
    """librdkafka's properties, copied and read-only."""
    return Option(default, schemas.no_info_plain_validator_function(_properties))


def _int_schema(minimum: int) -> schemas.CoreSchema:
    return schemas.no_info_before_validator_function(
        _as_int, schemas.int_schema(strict=True, ge=minimum)
    )


def _as_int(value: Any) -> Any:
    """The int that the value stands for (numpy's, an enum's), else the value itself."""
    number = whole(value)
    return value if number is None else number


_ERROR_NAME = re.compile(r"[a-z][a-z0-9_]*")


def _error_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, tuple | list):
        raise RefusedError(f"must be a tuple or list of error names, got {kind(value)}")
    names = tuple(plain(name) for name in value)
    for name in names:
        if not isinstance(name, str) or not _ERROR_NAME.fullmatch(name):
            raise RefusedError(
                f"must be lower-case error names such as 'fenced', got {shown(name)}"
            )
    return names


def _names_of_text(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _steps(value: object) -> tuple[Callable[..., Any], ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise RefusedError(f"must be a sequence of callables, got {kind(value)}")
    for step in value:
        if not callable(step):
            raise RefusedError(f"must be callable as step(message), got {kind(step)}")
    return tuple(value)


def _checked(check: Callable[[Any], object]) -> schemas.CoreSchema:
    """A schema that calls `check`, which raises `RefusedError` with a sentence."""

    def validate(value: Any) -> object:
        try:
            return check(value)
        except RefusedError as error:
            sentence = str(error)
        raise PydanticCustomError("rule", "{sentence}", {"sentence": sentence})

    return schemas.no_info_plain_validator_function(validate)


def _properties(value: object) -> Properties:
    items, errors = copied(value)
    if errors:
        raise PydanticCustomError("kafka", "see ctx", {"sentences": errors})
    return items


def _labels(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise RefusedError(f"must be a mapping of str to str, got {shown(value)}")
    copy = {plain(name): plain(text) for name, text in value.items()}
    for name, text in copy.items():
        if not isinstance(name, str) or not name:
            raise RefusedError(f"must have non-empty str as names, got {shown(name)}")
        if not isinstance(text, str):
            raise RefusedError(f"{name!r} must be a str, got {shown(text)}")
    return MappingProxyType(copy)


def _labels_of_text(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise RefusedError("must be written as name=value, with commas between them")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise RefusedError(f"must be true or false, got {shown(text)}")
    return text == "true"


def _count(text: str) -> int:
    # 18 digits: beyond any size, and within what int() reads.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004
        raise RefusedError(f"must be a whole number, got {shown(text)}")
    return int(text)


def _none_or(read: FromText) -> FromText:
    return lambda text: None if text == "none" else read(text)
