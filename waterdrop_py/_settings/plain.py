"""Unwraps values that users pass: enums, subclasses, pydantic's secrets, paths."""

from __future__ import annotations

import operator
import os
from enum import Enum
from typing import Any

from waterdrop_py._settings.redact import SecretText


def plain(value: Any) -> Any:
    """The plain str, bytes or int of an enum member or of an instance of a subclass.

    Methods that a subclass overrides are not called. Any other value is returned as it
    is.
    """
    if type(value) is str or type(value) is bytes:
        return value
    if isinstance(value, Enum) and isinstance(value, str | bytes):
        value = value.value if isinstance(value.value, str | bytes) else value
    if isinstance(value, SecretText):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__index__(value)
    return value


def whole(value: Any) -> int | None:
    """The int that a value stands for, numpy's included; None for any other value.

    A bool does not stand for an int.
    """
    if type(value) is int:
        return value
    if isinstance(value, bool) or type(value).__name__.startswith("bool"):
        return None
    try:
        return int.__index__(operator.index(value))
    except Exception:  # noqa: BLE001 - __index__ is the user's; the caller refuses None
        return None


def unwrapped(value: Any) -> Any:
    """The text in a path, or in pydantic's `SecretStr` or `SecretBytes`.

    The text of a secret is a `SecretText`. Any other value is returned as it is.
    """
    reveal = getattr(value, "get_secret_value", None)
    if callable(reveal) and not isinstance(value, type):
        inner = reveal()
        if isinstance(inner, bytes):
            inner = inner.decode("utf-8", "surrogateescape")
        return SecretText(str.__str__(inner)) if isinstance(inner, str) else value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    return value


def value_hint(value: Any) -> str:
    """A hint for a plain Enum, whose member's value was probably meant."""
    if isinstance(value, Enum) and isinstance(value.value, str | bytes | int):
        return f"; did you mean {type(value).__name__}.{value.name}.value?"
    return ""
