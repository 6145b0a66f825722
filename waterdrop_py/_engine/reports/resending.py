"""The protocol of what may take a report away, to produce its message again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from waterdrop_py._engine.client import report_sink

if TYPE_CHECKING:
    from waterdrop_py.delivery import DeliveryHandle


class Resending(report_sink.Resending, Protocol):
    """Messages that are produced again because of what their reports said."""

    def take(self, handle: DeliveryHandle, error: Any, native: Any) -> bool:
        """Take a report; False when it is to be settled as it is. Inside the poll."""


class _NoResending:
    """Takes no report: of a handler that belongs to no connection yet."""

    waiting = holds = False

    def take(self, *_: object) -> bool:
        return False

    def begin(self) -> None:
        """Nothing waits."""


NO_RESENDING: Final = _NoResending()
