"""Tells a re-entrant call that it interrupted a send, or a step of its connection."""

from __future__ import annotations

from typing import Final, Protocol

from waterdrop_py._engine.concurrency.call_marks import CallMark

borrower: Final = CallMark()
"""Marks a function that borrows the client in its local variable `client`."""
ends_step: Final = CallMark()
"""Marks a method that ends a step of a connection and then runs deferred jobs. Its
`self` is the connection, has it as `_connection`, or shares its `reports`."""


class _Connection(Protocol):
    @property
    def reports(self) -> object: ...


def borrows_here(client: object) -> int:
    """How many marks in `client.borrows` belong to frames of this thread."""
    frames = borrower.frames()
    return sum(frame.f_locals.get("client") is client for frame in frames)


def in_deferred(connection: _Connection) -> bool:
    """Whether this thread, further down its stack, ends a step of `connection` and runs
    what was deferred to it, or is about to."""
    for frame in ends_step.frames():
        owner = frame.f_locals.get("self")
        if (
            getattr(owner, "reports", None) is connection.reports
            or getattr(owner, "_connection", None) is connection
        ):
            return True
    return False
