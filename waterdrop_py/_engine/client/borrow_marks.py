"""Whether the running call has interrupted one of ours in its own thread.

A signal handler, a finalizer and a subscriber each run on top of another frame of
their thread. Where a wait would be for that frame, waiting is for oneself. The
hot path keeps no record of who is in it, so the cold ones look down the stack.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from waterdrop_py._engine.client.client import Life
    from waterdrop_py._engine.connection.connection import ClientSlot

_HOLDERS: Final[set[CodeType]] = set()
_POLLERS: Final[set[CodeType]] = set()
_STEPS: Final[set[CodeType]] = set()
_F = TypeVar("_F", bound="Callable[..., object]")


def leaseholder(function: _F) -> _F:
    """Mark a function that keeps a mark in `life.inuse`, in a local named `life`."""
    _HOLDERS.add(function.__code__)
    return function


def leases(life: Life) -> int:
    """How many marks in `life.inuse` belong to frames of this thread."""
    count = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _HOLDERS and frame.f_locals.get("life") is life:
            count += 1
        frame = frame.f_back
    return count


def poller(function: _F) -> _F:
    """Mark a function in which a client's poll turn is held round a native call."""
    _POLLERS.add(function.__code__)
    return function


def polls_here() -> bool:
    """Whether this thread holds a client's reports up, further down its stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _POLLERS:
            return True
        frame = frame.f_back
    return False


def ends_step(function: _F) -> _F:
    """Mark a method that ends a step of a slot, and then does what was deferred to it.

    Its `self` is the slot, or has it as `_slot`, or has the `reports` of the slot.
    """
    _STEPS.add(function.__code__)
    return function


def in_deferred(slot: ClientSlot) -> bool:
    """Whether this thread does what was deferred to the end of a step of `slot`, or is
    about to, further down its stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _STEPS:
            owner = frame.f_locals.get("self")
            if (
                getattr(owner, "reports", None) is slot.reports
                or getattr(owner, "_slot", None) is slot
            ):
                return True
        frame = frame.f_back
    return False
