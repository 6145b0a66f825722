"""Marks on functions, to ask whether the calling thread is inside a marked call.

A signal handler, a finalizer and a subscriber each run on top of another frame of
their thread. Where they would wait for that frame, they would wait for themselves. The
hot path keeps no record of its callers, so the rare question walks down the stack.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

_F = TypeVar("_F", bound="Callable[..., object]")


class CallMark:
    """A decorator that marks functions, and finds the calls of them in progress."""

    __slots__ = ("_codes",)

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()

    def __call__(self, function: _F) -> _F:
        """Mark `function`."""
        self._codes.add(function.__code__)
        return function

    def frames(self) -> Iterator[FrameType]:
        """The calling thread's frames of marked functions, the innermost first."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - documented, of CPython
        while frame is not None:
            if frame.f_code in self._codes:
                yield frame
            frame = frame.f_back


poller: Final = CallMark()
"""Marks a function that polls a client, or settles what a poll has left."""


def polls_here() -> bool:
    """Whether this thread polls a client, further down its stack."""
    return next(poller.frames(), None) is not None
