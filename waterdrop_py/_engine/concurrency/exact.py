"""Durations that add up exactly."""

from __future__ import annotations

from typing import Final

SCALE: Final = 2.0**20


def exact(duration: float) -> float:
    """The nearest multiple of 2**-20, a millionth.

    Sums of such values are exact, in whatever order they are added. Otherwise a counter
    could fall by a rounding, and its reader takes that for a restart.
    """
    return round(duration * SCALE) / SCALE
