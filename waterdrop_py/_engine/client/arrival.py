"""Callbacks for librdkafka that only store what they get, for `Settling` to settle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.concurrency.signals import no_signal_at_entry

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable


class Arrival:
    """A callback with one argument, which it stores for `Settling` to settle.

    As with `PendingMessage.__call__`, no signal handler runs in here.
    """

    __slots__ = ("_arrived", "_fn")

    def __init__(
        self, arrived: deque[tuple[Any, Any, Any]], fn: Callable[[Any], None]
    ) -> None:
        self._arrived = arrived
        self._fn = fn

    @no_signal_at_entry
    def __call__(self, argument: Any) -> None:
        """Store it."""
        try:
            arrived = self._arrived
            arrived += ((None, self._fn, argument),)
        finally:
            pass


class ArrivingLines:
    """A logger that stores librdkafka's lines for `Settling` to settle."""

    __slots__ = ("_arrived", "_log")

    def __init__(
        self, arrived: deque[tuple[Any, Any, Any]], log: Callable[..., None]
    ) -> None:
        self._arrived = arrived
        self._log = log

    @no_signal_at_entry
    def log(self, level: int, text: str, *arguments: object) -> None:
        """Store it."""
        try:
            arrived = self._arrived
            arrived += ((None, self._pass_on, (level, text, *arguments)),)
        finally:
            pass

    def _pass_on(self, line: tuple[Any, ...]) -> None:
        self._log(*line)
