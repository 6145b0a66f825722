"""The library's threads: daemons, named, started when needed, gone when not."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def start(name: str, run: Callable[[], None]) -> bool:
    """Start a daemon thread; False when the interpreter starts none any more.

    Safe in signal handlers: since Python 3.10 the lock inside
    `threading.Thread.start` is re-entrant.
    """
    try:
        Thread(target=run, name=f"waterdrop-{name}", daemon=True).start()
    except RuntimeError:
        return False  # no resources, or at interpreter exit, from 3.12 on
    return True
