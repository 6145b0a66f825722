"""Sleeping, interruptible by Ctrl-C."""

from __future__ import annotations

from waterdrop_py._engine.concurrency.wakeup import Bell


def pause(duration: float) -> None:
    """Wait `duration` seconds."""
    Bell().wait(duration)
