"""The one source of time.

Seconds that never jump and that count suspension: `CLOCK_BOOTTIME` where the
system has it, so that a laptop or a VM that slept past an idle deadline is seen
to have slept (`CLOCK_MONOTONIC` stands still then).
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.typing import Clock


def _system_clock() -> Callable[[], float]:
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:  # pragma: no cover - not Linux
        return time.monotonic
    return partial(time.clock_gettime, boottime)


system_now: Callable[[], float] = _system_clock()
"""Real seconds: what bounds a wait. A thread that waits, waits in real time."""

_now: Callable[[], float] = system_now
_observers: list[Callable[[], None]] = []


def now() -> float:
    """Seconds on the current clock: what idleness and age are measured with."""
    return _now()


def wall_now() -> float:
    """Epoch seconds, which jump: only where others say or expect such."""
    return time.time()


def replace(clock: Clock | None) -> None:
    """Measure idleness with `clock` from now on, or with the system's for None."""
    global _now  # noqa: PLW0603
    _now = system_now if clock is None else clock.now
    announce()


def is_real() -> bool:
    """Whether idleness is measured with the system's clock."""
    return _now is system_now


def on_jump(observer: Callable[[], None]) -> None:
    """Call `observer` whenever a clock that does not run by itself has moved."""
    _observers.append(observer)


def announce() -> None:
    """Tell everybody who sleeps to a deadline to look at the clock again."""
    for observer in tuple(_observers):
        observer()
