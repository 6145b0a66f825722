"""Ctrl-C, raised only where the demo can stop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class Interrupts:
    """A context manager in which Ctrl-C is noted, and raised by `check`.

    Raised by the signal itself, it might interrupt a bare client's delivery callback,
    which loses that report; or confluent-kafka might turn it into a `SystemError`. A
    second Ctrl-C is raised at once. Another handler of SIGINT is left in place. For the
    main thread only.
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
