"""A clock that a test moves."""

from __future__ import annotations

from datetime import timedelta

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError

_FARTHEST = 1e12  # 30 000 years


class FakeClock:
    """Seconds that pass only when `advance` is called.

    `with FakeClock() as time:` makes it the clock with which the library measures
    idleness and age, in the whole process, until the block ends. `time.advance(300)`
    then lets five minutes pass, and the reaper closes what fell due. Waits stay real: a
    thread that waits for a broker waits in real time. Thread-safe. A time that is not a
    number of seconds, or goes back, is an `InvalidArgumentError`.

    Args:
        start: seconds at which it begins.

    Example:
        >>> with FakeClock() as time:
        ...     report = producer.produce_sync("orders", b"first")
        ...     time.advance(60)
        ...     round(producer.idle_ms)
        60000
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = _seconds("start", start)

    def now(self) -> float:
        """The current time in seconds."""
        return self._now

    def advance(self, duration: float | timedelta) -> None:
        """Let `duration` seconds pass, and wake threads that sleep until a deadline."""
        step = _seconds("duration", duration)
        if step < 0:
            raise InvalidArgumentError(
                f"duration: must not be negative, got {shown(duration)}"
            )
        self._now += step
        clock.announce()

    def __repr__(self) -> str:
        return f"<FakeClock now={self._now!r}>"

    def __enter__(self) -> FakeClock:
        clock.replace(self)
        return self

    def __exit__(self, *_: object) -> None:
        clock.replace(None)


def _seconds(name: str, value: float | timedelta) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgumentError(
            f"{name}: must be a number of seconds or a timedelta, got {shown(value)}"
        )
    if not abs(value) <= _FARTHEST:  # also what is not a number
        raise InvalidArgumentError(
            f"{name}: must be at most {_FARTHEST:g} s, got {shown(value)}"
        )
    return value
