"""The one source of time: monotonic seconds that count suspension.

`CLOCK_BOOTTIME` where the system has it, so that a machine that was suspended past an
idle deadline has passed it. `CLOCK_MONOTONIC` stands still meanwhile.
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
"""Seconds of the system: what bounds a wait. Threads wait in real time."""

now: Callable[[], float] = system_now
"""Seconds on the current clock, which measures idleness and age. Not to be imported by
name: a test replaces it."""

_observers: list[Callable[[], None]] = []


def wall_now() -> float:
    """Epoch seconds, which may jump: only for values that others give or expect."""
    return time.time()


def replace(clock: Clock | None) -> None:
    """Measure idleness with `clock` from now on; None: with the system's clock."""
    global now  # noqa: PLW0603
    now = system_now if clock is None else clock.now
    announce()


def is_real() -> bool:
    """Whether idleness is measured with the system's clock."""
    return now is system_now


def on_jump(observer: Callable[[], None]) -> None:
    """Call `observer` whenever a test has moved its clock, or replaced it."""
    _observers.append(observer)


def announce() -> None:
    """Tell threads that sleep until a deadline to read the clock again."""
    for observer in list(_observers):
        observer()
