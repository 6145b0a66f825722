"""Arguments in seconds, as `threading` and confluent-kafka take them."""

from __future__ import annotations

import math
from datetime import timedelta

from waterdrop_py._settings.shown import shown
from waterdrop_py.errors import InvalidArgumentError


def seconds(name: str, value: float | timedelta | None) -> float | None:
    """`value` in seconds; None stays None.

    Raises:
        InvalidArgumentError: no number of seconds, negative, or not a number.
    """
    if value is None:
        return None
    number: float
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an int beyond any float, which is for ever
            number = math.inf if value > 0 else -math.inf
    else:
        raise InvalidArgumentError(
            f"{name}: must be a number of seconds, a timedelta or None, got "
            f"{shown(value)}"
        )
    if math.isnan(number) or number < 0:
        raise InvalidArgumentError(
            f"{name}: must be 0 or more seconds, got {shown(value)}"
        )
    return number


def required_seconds(name: str, value: float | timedelta) -> float:
    """Like `seconds`, where None is not legal."""
    number = seconds(name, value)
    if number is None:
        raise InvalidArgumentError(
            f"{name}: must be a number of seconds or a timedelta, got None"
        )
    return number


def count(name: str, value: int | None) -> int | None:
    """`value` as a number of times; None stays None.

    Raises:
        InvalidArgumentError: no int, or negative.
    """
    if value is None or (type(value) is int and value >= 0):
        return value
    raise InvalidArgumentError(
        f"{name}: must be an int, 0 or more, or None, got {shown(value)}"
    )
