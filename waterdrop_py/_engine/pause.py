"""Sleeping, interruptible by Ctrl-C."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue


def pause(duration: float) -> None:
    """Wait `duration` seconds."""
    nobody: SimpleQueue[None] = SimpleQueue()
    with suppress(Empty):
        nobody.get(timeout=max(0.0, duration))
