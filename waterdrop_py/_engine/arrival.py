"""A native callback that only stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.unbroken import unbroken

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable


class Arrival:
    """A callback of librdkafka's with one argument: it is kept for `Life.drain`.

    As with `DeliveryHandle.__call__`, no signal handler runs in here.
    """

    __slots__ = ("_arrived", "_fn")

    def __init__(
        self, arrived: deque[tuple[Any, Any, Any]], fn: Callable[[Any], None]
    ) -> None:
        self._arrived = arrived
        self._fn = fn

    def __call__(self, argument: Any) -> None:
        """Keep it."""
        try:
            arrived = self._arrived
            arrived += ((None, self._fn, argument),)
        finally:
            pass


unbroken(Arrival.__call__)
