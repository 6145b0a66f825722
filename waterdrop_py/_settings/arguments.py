"""Checks arguments of public methods: seconds, numbers of times, and flags."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Final

from waterdrop_py._settings.plain import whole
from waterdrop_py._settings.redact import shown
from waterdrop_py._settings.rejected import RefusedError
from waterdrop_py.errors import InvalidArgumentError

_LEGAL: Final = "a number of seconds or a timedelta"


def as_seconds(value: object, legal: str = _LEGAL) -> float:
    """Convert a number of seconds or a timedelta to a float.

    `legal` says in the error what is legal.

    Raises:
        RefusedError: `value` is neither, or is negative or nan.
    """
    number: float
    given: Any = value
    if isinstance(given, timedelta):
        number = given.total_seconds()
    elif isinstance(given, float) or whole(given) is not None:
        try:
            number = float(given)
        except OverflowError:  # an int beyond any float: forever
            number = math.inf if given > 0 else -math.inf
    else:
        raise RefusedError(f"must be {legal}, got {shown(value)}")
    if math.isnan(number) or number < 0:
        raise RefusedError(f"must be 0 or more seconds, got {shown(value)}")
    return number


def seconds(name: str, value: float | timedelta | None) -> float | None:
    """Convert an argument to seconds; None stays None.

    Raises:
        InvalidArgumentError: `value` is not a number of seconds, or is negative.
    """
    if value is None:
        return None
    return _argument(name, value, "a number of seconds, a timedelta or None")


def required_seconds(name: str, value: float | timedelta) -> float:
    """Convert an argument to seconds; None is not legal.

    Raises:
        InvalidArgumentError: `value` is not a number of seconds, or is negative.
    """
    return _argument(name, value, _LEGAL)


def flag(name: str, value: bool) -> bool:
    """Check an argument that is True or False.

    Raises:
        InvalidArgumentError: `value` is neither.
    """
    given: Any = value
    if not isinstance(given, bool):
        raise InvalidArgumentError(f"{name}: must be a bool, got {shown(given)}")
    return value


def count(name: str, value: int | None) -> int | None:
    """Convert an argument to a number of times; None stays None.

    Raises:
        InvalidArgumentError: `value` is not an int, or is negative.
    """
    if value is None:
        return None
    number = whole(value)
    if number is not None and number >= 0:
        return number
    raise InvalidArgumentError(
        f"{name}: must be an int, 0 or more, or None, got {shown(value)}"
    )


def _argument(name: str, value: object, legal: str) -> float:
    try:
        return as_seconds(value, legal)
    except RefusedError as error:
        sentence = str(error)
    raise InvalidArgumentError(f"{name}: {sentence}")
