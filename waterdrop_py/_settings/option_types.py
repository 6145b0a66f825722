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

from waterdrop_py._settings.arguments import as_seconds
from waterdrop_py._settings.callables import BEFORE, WAITS, function_error
from waterdrop_py._settings.durations import (
    as_text,
    connection_milliseconds,
    milliseconds,
)
from waterdrop_py._settings.librdkafka import closest
from waterdrop_py._settings.plain import plain, whole
from waterdrop_py._settings.properties import Properties, copied
from waterdrop_py._settings.redact import kind, shown
from waterdrop_py._settings.rejected import RefusedError
from waterdrop_py.errors import ConfigurationInvalidError

Given_contra = TypeVar("Given_contra", contravariant=True)
Kept_co = TypeVar("Kept_co", covariant=True)
FromText: TypeAlias = Callable[[str], object]
ToText: TypeAlias = Callable[[Any], str]
Check: TypeAlias = Callable[[Any], object]
"""Converts what the user gave to what is kept; raises `RefusedError`."""
REQUIRED: Any = object()


class Option(Generic[Given_contra, Kept_co]):
    """One option: its default, its check, and how it is read from and written as text.

    Type checkers see a descriptor, which lets a user pass `"5m"` and get an int. At run
    time only the default stays on the class.
    """

    def __init__(
        self,
        default: Any,
        check: Check,
        *,
        from_text: FromText | None = None,
        to_text: ToText = str,
    ) -> None:
        self.default = default
        self.check = check
        self.from_text = from_text
        self.to_text = to_text

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
    return Option(default, milliseconds, from_text=str, to_text=as_text)


def optional_duration(default: int | None) -> Any:
    """Milliseconds, at least 0, or None."""
    return Option(
        default,
        _none_or(milliseconds),
        from_text=_none_or_text(str),
        to_text=_none_as_text(as_text),
    )


def connection_duration(default: int) -> Any:
    """Milliseconds after which a client is closed; 0 is never."""
    return Option(default, connection_milliseconds, from_text=str, to_text=as_text)


def optional_count(default: int | None, *, minimum: int, unit: str) -> Any:
    """An int of `unit`, or None."""
    check = _none_or(_whole_number(minimum, f"{unit}, at least {minimum}, or None"))
    return Option(
        default, check, from_text=_none_or_text(_count), to_text=_none_as_text(str)
    )


def count(default: int, *, minimum: int, maximum: int | None = None, unit: str) -> Any:
    """An int of `unit`."""
    bounds = f"at least {minimum}" if maximum is None else f"{minimum} to {maximum}"
    check = _whole_number(minimum, f"{unit}, {bounds}", maximum)
    return Option(default, check, from_text=_count)


def error_names(default: tuple[str, ...]) -> Any:
    """A tuple or list of lower-case error names; as text, separated by commas."""
    return Option(default, _error_names, from_text=_names_of_text, to_text=",".join)


def steps() -> Any:
    """A sequence of callables; cannot be given as text."""
    return Option((), _steps)


def flag(default: bool) -> Any:
    """True or False, and no value that merely counts as one."""
    return Option(
        default,
        _flag,
        from_text=_flag_of_text,
        to_text=lambda value: "true" if value else "false",
    )


def optional_text(default: str | None) -> Any:
    """A non-empty str, or None."""
    return Option(default, _optional_text, from_text=str)


def choice(default: str, *others: str) -> Any:
    """One of these words."""
    return Option(default, _one_of((default, *others)))


def seconds(default: float) -> Any:
    """Seconds, at least 0, as a float; cannot be given as text."""
    return Option(default, as_seconds)


def labels() -> Any:
    """A mapping of str to str, copied and read-only."""
    return Option(MappingProxyType({}), _labels, from_text=_labels_of_text)


def optional_function(*, contract: str) -> Any:
    """A plain function, or None, which is the default; cannot be given as text."""

    def check(value: object) -> object:
        if value is None:
            return value
        sentence = function_error(value, f"{contract}, or None", WAITS)
        if sentence is not None:
            raise RefusedError(sentence)
        return value

    return Option(None, check)


def positional(*, default: Any, kw_only: bool) -> Any:
    """For type checkers: an argument of the constructor that is not an option."""
    raise NotImplementedError


def properties(*, default: Any) -> Any:
    """librdkafka's properties, copied and read-only."""
    return Option(default, _properties)


def _none_or(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _whole_number(minimum: int, of: str, maximum: int | None = None) -> Check:
    def check(value: object) -> int:
        number = whole(value)
        if number is None:
            raise RefusedError(f"must be an int of {of}, got {shown(value)}")
        nearest = max(number, minimum)
        nearest = nearest if maximum is None else min(nearest, maximum)
        if number != nearest:
            raise RefusedError(
                f"must be an int of {of}, got {shown(number)}; "
                f"the nearest legal value is {nearest}"
            )
        return number

    return check


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise RefusedError(f"must be True or False, got {shown(value)}")
    return value


def _optional_text(value: object) -> str | None:
    text = plain(value)
    if text is None or (isinstance(text, str) and text and _is_unicode(text)):
        return text
    raise RefusedError(f"must be a non-empty str, or None, got {shown(text)}")


def _one_of(words: tuple[str, ...]) -> Check:
    legal = " or ".join(map(repr, words))

    def check(value: object) -> str:
        text = plain(value)
        if text in words:
            return str(text)
        meant = closest(text.strip().lower(), words) if isinstance(text, str) else None
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise RefusedError(f"must be {legal}, got {shown(text)}{hint}")

    return check


def _is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogate, which no log or event could encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
    return tuple(dict.fromkeys(names))


def _names_of_text(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _steps(value: object) -> tuple[Callable[..., Any], ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise RefusedError(f"must be a sequence of callables, got {kind(value)}")
    for step in value:
        sentence = function_error(step, "step(message)", BEFORE)
        if sentence is not None:
            raise RefusedError(sentence)
    return tuple(value)


def _properties(value: object) -> Properties:
    items, errors = copied(value)
    if errors:
        raise ConfigurationInvalidError(errors)
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
        if not (_is_unicode(name) and _is_unicode(text)):
            raise RefusedError(f"{name!r} must be valid Unicode, got {shown(text)}")
    return MappingProxyType(copy)


def _labels_of_text(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise RefusedError("must be written as name=value, with commas between them")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _flag_of_text(text: str) -> bool:
    if text not in {"true", "false"}:
        raise RefusedError(f"must be true or false, got {shown(text)}")
    return text == "true"


def _count(text: str) -> int:
    # 640 digits: within what int() always reads.
    if not (text.isascii() and text.isdigit() and len(text) <= 640):  # noqa: PLR2004
        raise RefusedError(f"must be a whole number, got {shown(text)}")
    return int(text)


def _none_or_text(read: FromText) -> FromText:
    return lambda text: None if text == "none" else read(text)


def _none_as_text(write: ToText) -> ToText:
    return lambda value: "none" if value is None else write(value)
