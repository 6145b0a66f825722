"""Sleeping, interruptible by Ctrl-C."""

from __future__ import annotations

from waterdrop_py._engine.concurrency.wakeup import Wakeup


def pause(duration: float) -> None:
    """Wait `duration` seconds."""
    Wakeup().wait(duration)
