"""Values without what may be wrapped around them: enums, subclasses, secrets, paths."""

from __future__ import annotations

import operator
import os
from enum import Enum
from typing import Any

from waterdrop_py._settings.redact import SecretText


def plain(value: Any) -> Any:
    """The value itself of a str-, bytes- or int-Enum, and of a subclass of those.

    What a subclass overrides has no say in it. Anything else comes back as it is.
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
    """The int that a value stands for, numpy's included; None for anything else.

    A bool stands for none.
    """
    if type(value) is int:
        return value
    if isinstance(value, bool) or type(value).__name__.startswith("bool"):
        return None
    try:
        return int.__index__(operator.index(value))
    except Exception:  # noqa: BLE001 - the user's own __index__; the value is refused
        return None


def opened(value: Any) -> Any:
    """What is inside pydantic's `SecretStr` and `SecretBytes`, and paths, as text.

    Text that was a secret stays one. Anything else comes back as it is.
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
    """A question for an Enum that is not its value: a member's value was meant."""
    if isinstance(value, Enum) and isinstance(value.value, str | bytes | int):
        return f"; did you mean {type(value).__name__}.{value.name}.value?"
    return ""
