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

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection

_HOLDERS: Final[set[CodeType]] = set()
_POLLERS: Final[set[CodeType]] = set()
_STEPS: Final[set[CodeType]] = set()
_F = TypeVar("_F", bound="Callable[..., object]")


def borrower(function: _F) -> _F:
    """Mark a function that borrows the client in its local variable `client`."""
    _HOLDERS.add(function.__code__)
    return function


def borrows_here(client: Client) -> int:
    """How many marks in `client.borrows` belong to frames of this thread."""
    count = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _HOLDERS and frame.f_locals.get("client") is client:
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
    """Mark a method that ends a step of a connection and then runs deferred jobs.

    Its `self` is the connection, has it as `_connection`, or shares its `reports`.
    """
    _STEPS.add(function.__code__)
    return function


def in_deferred(connection: Connection) -> bool:
    """Whether this thread, further down its stack, ends a step of `connection` and runs
    what was deferred to it, or is about to."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _STEPS:
            owner = frame.f_locals.get("self")
            if (
                getattr(owner, "reports", None) is connection.reports
                or getattr(owner, "_connection", None) is connection
            ):
                return True
        frame = frame.f_back
    return False
