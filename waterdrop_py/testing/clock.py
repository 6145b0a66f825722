"""A clock that a test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine import clock

if TYPE_CHECKING:
    from datetime import timedelta


class FakeClock:
    """Seconds that pass when `advance` is called, and not otherwise.

    `with FakeClock() as time:` makes it the clock with which the library measures
    idleness and age, in the whole process, until the block ends; `time.advance(300)`
    then lets five minutes pass, and the reaper closes what fell due. Waits stay real:
    a thread that waits for a broker waits in real time. Thread-safe.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """The current time in seconds."""
        return self._now

    def advance(self, duration: float | timedelta) -> None:
        """Let `duration` seconds pass, and wake who sleeps to a deadline."""
        number = duration if isinstance(duration, int | float) else None
        step = duration.total_seconds() if number is None else number  # type: ignore[union-attr]
        if step < 0:
            raise ValueError(f"duration: {duration!r} is negative; time does not turn")
        self._now += step
        clock.announce()

    def __enter__(self) -> FakeClock:
        clock.replace(self)
        return self

    def __exit__(self, *_: object) -> None:
        clock.replace(None)
