"""Numbers that librdkafka would misread: it reads the digits in front and no more.

`"30s"` is 30 for it, `"1e5"` is 1, `"010"` is 8, and 2**32 + 1 is 1.
"""

from __future__ import annotations

import math
import re

from waterdrop_py._settings.plain import whole
from waterdrop_py._settings.redact import shown_property

_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
# 19 digits: past every property's range, and short of what int() refuses to read.
_LONGEST = 20
_UNITS = {
    "ms": {
        **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), 1),
        **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1_000),
        **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60_000),
        **dict.fromkeys(("h", "hr", "hour", "hours"), 3_600_000),
        **dict.fromkeys(("d", "day", "days"), 86_400_000),
    },
    "bytes": {
        **dict.fromkeys(("b", "byte", "bytes"), 1),
        **dict.fromkeys(("k", "kb", "kib"), 1 << 10),
        **dict.fromkeys(("m", "mb", "mib"), 1 << 20),
        **dict.fromkeys(("g", "gb", "gib"), 1 << 30),
    },
}
_WORDS = {
    "ms": "milliseconds",
    "bytes": "bytes",
    "kbytes": "kilobytes",
    "seconds": "seconds",
}
# What of a unit table one of the property's own units is.
_SIZES = {
    "ms": ("ms", 1),
    "seconds": ("ms", 1_000),
    "bytes": ("bytes", 1),
    "kbytes": ("bytes", 1 << 10),
}
_AMOUNT = re.compile(r"([+-]?[0-9.eE+-]+?)\s*([A-Za-z]*)", re.ASCII)
_UNDERSCORES = re.compile(r"[+-]?[0-9]+(_[0-9]+)+[ A-Za-z]*", re.ASCII)
_GROUPS = re.compile(
    r"[+-]?[0-9]{1,3}(?:([, '\u2019\u00a0\u202f])[0-9]{3})(?:\1[0-9]{3})*"
)


def unit_of(name: str) -> str:
    """The unit that a property's name ends in, or an empty text."""
    _, dot, last = name.rpartition(".")
    if name in {"linger.ms", "queue.buffering.max.ms"}:
        return "ms"
    if name == "batch.size":
        return "bytes"
    return last if dot and last in _WORDS else ""


def misread_whole(name: str, value: object, low: int, high: int) -> str | None:
    """What is wrong with a whole number that librdkafka took, or None.

    `low` and `high` are the property's range.
    """
    if isinstance(value, str) and not (
        _PLAIN.fullmatch(value) and len(value) <= _LONGEST
    ):
        return _sentence(name, value, low, high)
    if isinstance(value, float) and not value.is_integer():
        return _sentence(name, value, low, high)
    figure = int(value) if isinstance(value, str | float) else whole(value)
    if figure is None:
        return _sentence(name, value, low, high)
    if low <= figure <= high:
        return None
    return out_of_range(name, value, low, high)


def misread_decimal(name: str, value: object) -> str | None:
    """What is wrong with a number that may have a fraction and that librdkafka took."""
    if isinstance(value, str):
        good = _DECIMAL.fullmatch(value) is not None
    else:
        good = not isinstance(value, float) or math.isfinite(value)
    if good:
        return None
    return _must_be("a number", name, value, _meant(name, value))


def out_of_range(name: str, value: object, low: int, high: int) -> str:
    """The sentence for a number beyond the property's range."""
    given = shown_property(name, value)
    figure = _meant(name, value)
    nearest = low if figure is not None and figure < low else high
    unit = unit_of(name)
    return (
        f"must be from {low} to {high}{f' {unit}' if unit else ''}, got {given}; "
        f"the nearest legal value is {nearest}"
    )


def not_a_number(name: str, value: object, *, decimal: bool) -> str:
    """The sentence for what librdkafka itself does not take for a number."""
    legal = "a number" if decimal else "a whole number"
    return _must_be(legal, name, value, _meant(name, value))


def _sentence(name: str, value: object, low: int, high: int) -> str:
    meant = _meant(name, value)
    if meant is not None:
        meant = round(min(max(meant, low), high))
    return _must_be("a whole number", name, value, meant)


def _must_be(legal: str, name: str, value: object, meant: float | None) -> str:
    unit = unit_of(name)
    of = f" of {_WORDS[unit]}" if unit else ""
    hint = "" if meant is None else f"; did you mean {_figure(meant)}?"
    return f"must be {legal}{of}, got {shown_property(name, value)}{hint}"


def _figure(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _meant(name: str, value: object) -> float | None:
    """The number that was meant, in the property's own unit, where that can be told."""
    if isinstance(value, bool):
        return None
    if not isinstance(value, str):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    text = value.strip().strip("\"'").strip()
    try:
        return _of_text(text, *_SIZES.get(unit_of(name), ("", 1)))
    except (ValueError, ArithmeticError):
        return None


def _of_text(text: str, table: str, size: int) -> float | None:
    if len(text) > 2 * _LONGEST:
        return None
    if text.lower().lstrip("+-").startswith(("0x", "0b", "0o")):
        return int(text, 0)
    text = _ungrouped(text)
    if text.lstrip("+-").isdecimal():
        return int(text)  # digits of any alphabet
    from decimal import Decimal  # only who gave a bad number pays for it

    match = _AMOUNT.fullmatch(text)
    if match is None:
        return None
    factor = _UNITS.get(table, {}).get(match[2].lower()) if match[2] else size
    number = None if factor is None else Decimal(match[1]) * factor / size
    return float(number) if number is not None and number.is_finite() else None


def _ungrouped(text: str) -> str:
    """The text without what groups its thousands."""
    if grouped := _GROUPS.fullmatch(text):
        return text.replace(grouped[1], "")
    return text.replace("_", "") if _UNDERSCORES.fullmatch(text) else text
