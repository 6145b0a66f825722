"""Tells a re-entrant call that it interrupted a send."""

from __future__ import annotations

from typing import Final

from waterdrop_py._engine.concurrency.call_marks import CallMark

borrower: Final = CallMark()
"""Marks a function that borrows the client in its local variable `client`."""


def borrows_here(client: object) -> int:
    """How many marks in `client.borrows` belong to frames of this thread."""
    frames = borrower.frames()
    return sum(frame.f_locals.get("client") is client for frame in frames)
