"""Finds numbers that librdkafka would misread, and guesses what was meant.

librdkafka reads the leading digits and ignores the rest: it reads `"30s"` as 30,
`"1e5"` as 1, `"010"` as 8, and 2**32 + 1 as 1.
"""

from __future__ import annotations

import math
import re

from waterdrop_py._settings.plain import whole
from waterdrop_py._settings.redact import shown_property

_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
# A sign and 19 digits: beyond every property's range, within what int() reads.
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
# For each unit of a property: its table in _UNITS, and how many base units it holds.
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
    """The unit at the end of a property's name, or an empty text."""
    _, dot, last = name.rpartition(".")
    if name in {"linger.ms", "queue.buffering.max.ms"}:
        return "ms"
    if name == "batch.size":
        return "bytes"
    return last if dot and last in _WORDS else ""


def whole_number(value: object) -> int | None:
    """The whole number that librdkafka reads; None if it would misread the value."""
    if isinstance(value, str):
        is_plain = len(value) <= _LONGEST and _PLAIN.fullmatch(value)
        return int(value) if is_plain else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return whole(value)


def decimal_number(value: object) -> float | None:
    """The number that librdkafka reads; None if it would misread the value."""
    if isinstance(value, str):
        return float(value) if _DECIMAL.fullmatch(value) else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    number = whole(value)
    return None if number is None else float(number)


def misread_whole(name: str, value: object, low: int, high: int) -> str | None:
    """What is wrong with a whole number that librdkafka accepted, or None.

    `low` and `high` are the property's range.
    """
    number = whole_number(value)
    if number is None:
        return _not_whole(name, value, low, high)
    if low <= number <= high:
        return None
    return out_of_range(name, value, low, high)


def misread_decimal(name: str, value: object) -> str | None:
    """What is wrong with a decimal number that librdkafka accepted, or None."""
    if decimal_number(value) is not None:
        return None
    return _must_be("a number", name, value, _meant(name, value))


def out_of_range(name: str, value: object, low: int, high: int) -> str:
    """The sentence for a number beyond the property's range."""
    given = shown_property(name, value)
    meant = _meant(name, value)
    nearest = low if meant is not None and meant < low else high
    unit = unit_of(name)
    return (
        f"must be from {low} to {high}{f' {unit}' if unit else ''}, got {given}; "
        f"the nearest legal value is {nearest}"
    )


def not_a_number(name: str, value: object, *, decimal: bool) -> str:
    """The sentence for a value that librdkafka itself refuses as a number."""
    legal = "a number" if decimal else "a whole number"
    return _must_be(legal, name, value, _meant(name, value))


def _not_whole(name: str, value: object, low: int, high: int) -> str:
    meant = _meant(name, value)
    if meant is not None:
        meant = round(min(max(meant, low), high))
    return _must_be("a whole number", name, value, meant)


def _must_be(legal: str, name: str, value: object, meant: float | None) -> str:
    unit = unit_of(name)
    of = f" of {_WORDS[unit]}" if unit else ""
    hint = "" if meant is None else f"; did you mean {_formatted(meant)}?"
    return f"must be {legal}{of}, got {shown_property(name, value)}{hint}"


def _formatted(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _meant(name: str, value: object) -> float | None:
    """The number that was probably meant, in the property's unit; None if unclear."""
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
        return _number_in(text, *_SIZES.get(unit_of(name), ("", 1)))
    except (ValueError, ArithmeticError):
        return None


def _number_in(text: str, table: str, size: int) -> float | None:
    """The number that the text was meant to be, in units of `size`."""
    if len(text) > 2 * _LONGEST:
        return None
    if text.lower().lstrip("+-").startswith(("0x", "0b", "0o")):
        return int(text, 0)
    text = _ungrouped(text)
    if text.lstrip("+-").isdecimal():
        return int(text)  # digits of any alphabet
    from decimal import Decimal  # imported for illegal numbers only

    match = _AMOUNT.fullmatch(text)
    if match is None:
        return None
    factor = _UNITS.get(table, {}).get(match[2].lower()) if match[2] else size
    number = None if factor is None else Decimal(match[1]) * factor / size
    return float(number) if number is not None and number.is_finite() else None


def _ungrouped(text: str) -> str:
    """The text without its thousands separators."""
    if grouped := _GROUPS.fullmatch(text):
        return text.replace(grouped[1], "")
    return text.replace("_", "") if _UNDERSCORES.fullmatch(text) else text
