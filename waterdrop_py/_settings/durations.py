"""Reads durations of options: int milliseconds, `timedelta`, or text with a unit."""

from __future__ import annotations

import re
from datetime import timedelta

from waterdrop_py._settings.plain import plain, whole
from waterdrop_py._settings.redact import shown, spaced
from waterdrop_py._settings.rejected import RefusedError

LONGEST_MS = 2_147_483_647
"""Milliseconds of the longest legal duration: librdkafka keeps durations as C ints."""
SHORTEST_CONNECTION_MS = 30_000
"""Milliseconds: minimum of `idle_disconnect_timeout` and `max_connection_age`.

With a shorter one, normal traffic would cost more re-opens than it saves connections.
"""
short_connections_allowed: list[None] = []
"""One entry for each `testing.allow_short_idle_timeouts()` block that is open.

A list instead of a number because append and pop are atomic: two threads may enter at
once.
"""

_MS = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_NAMES = (
    (86_400_000, "day"),
    (3_600_000, "hour"),
    (60_000, "minute"),
    (1_000, "second"),
)
_TEXT = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]{1,9}))?(ms|s|min|m|h|d)")
_BARE = re.compile(r"-?[0-9]{1,15}")
# The largest int, for an option of 30 s or more, that was probably meant as seconds.
_LIKELY_SECONDS = 3_600


def connection_floor_ms() -> int:
    """Milliseconds of the shortest legal time, except 0, before a client is closed."""
    return 1 if short_connections_allowed else SHORTEST_CONNECTION_MS


def milliseconds(value: object) -> int:
    """Convert a duration to int milliseconds, at least 0.

    Raises:
        RefusedError: with the sentence for the user.
    """
    ms = _parsed(value)
    if ms < 0:
        raise RefusedError(
            f"must be 0 or more, got {_in_ms(ms)}; the nearest legal value is 0"
        )
    if ms > LONGEST_MS:
        raise RefusedError(
            f"{_in_ms(ms)} is above the maximum of {_in_ms(LONGEST_MS)}; "
            f"the nearest legal value is {_suggestion(LONGEST_MS)}"
        )
    return ms


def connection_milliseconds(value: object) -> int:
    """Convert a duration to int milliseconds: 0 (never), or at least the minimum.

    Raises:
        RefusedError: with the sentence for the user.
    """
    ms = milliseconds(value)
    floor = connection_floor_ms()
    if ms == 0 or ms >= floor:
        return ms
    as_seconds = type(value) is int and ms <= _LIKELY_SECONDS and ms * 1_000 >= floor
    meant = ms * 1_000 if as_seconds else floor
    raise RefusedError(
        f"{_in_ms(ms)} is below the minimum of {_in_ms(floor)}; "
        f"did you mean {_suggestion(meant)}?"
    )


def in_words(ms: int) -> str:
    """Milliseconds for people to read: `300_000` as `5 minutes`."""
    for size, name in _NAMES:
        if ms >= size:
            count = f"{ms / size:.1f}".removesuffix(".0")
            return f"{count} {name}{'' if count == '1' else 's'}"
    return f"{ms} ms"


def as_text(ms: int) -> str:
    """Milliseconds as text with a unit, which `milliseconds` reads back."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _MS[unit] == 0:
            return f"{ms // _MS[unit]}{unit}"
    return f"{ms}ms"


def _parsed(value: object) -> int:
    if (number := whole(value)) is not None:
        return number
    if isinstance(value, timedelta):
        return _divided(value // timedelta(microseconds=1), 1_000, value)
    value = plain(value)
    if isinstance(value, str):
        return _from_text(value)
    raise RefusedError(
        "must be a duration: an int of milliseconds, a timedelta, or text with a unit "
        f"such as '5m', '30s' or '60000ms', got {shown(value)}"
    )


def _from_text(text: str) -> int:
    match = _TEXT.fullmatch(text)
    if match:
        sign, integer, fraction, unit = match.groups()
        digits = fraction or ""
        scaled = int(sign + integer + digits) * _MS[unit]
        return _divided(scaled, 10 ** len(digits), text)
    if _BARE.fullmatch(text):
        raise RefusedError(
            f"must have a unit, got {shown(text)}; "
            f"did you mean '{text}ms' or '{text}s'?"
        )
    raise RefusedError(
        "must be a duration: a number and one of the units ms, s, m, h, d, such as "
        f"'5m', '30s' or '60000ms', got {shown(text)}"
    )


def _divided(scaled: int, divisor: int, value: object) -> int:
    """`scaled / divisor` milliseconds; refused if that is not a whole number."""
    ms, rest = divmod(scaled, divisor)
    if rest:
        raise RefusedError(
            f"must be a whole number of milliseconds, got {shown(value)}; "
            f"the nearest legal value is {ms + (2 * rest >= divisor)} ms"
        )
    return ms


def _in_ms(ms: int) -> str:
    return f"{spaced(ms)} ms"


def _suggestion(ms: int) -> str:
    return f"{ms:_} ({in_words(ms)})"
