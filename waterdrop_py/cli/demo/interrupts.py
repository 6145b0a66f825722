"""Ctrl-C, taken at moments of our own choosing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class Interrupts:
    """A context manager in which Ctrl-C is noted, and raised by `check`.

    Raised by the signal itself, it may land in a delivery callback, which costs that
    message its report, and confluent-kafka may turn it into a `SystemError`. The
    second Ctrl-C is raised at once. Where SIGINT has another handler, or is ignored,
    it stays so. For the main thread only.
    """

    def __init__(self) -> None:
        self._came = False
        self._ours = False

    def __enter__(self) -> Interrupts:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._ours = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if Ctrl-C has come."""
        if self._came:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True
