"""Forks that run no Python hooks, as uWSGI's master makes them: how they are noticed.

Nothing calls the library in such a child, so each verb looks whether it is still in the
process that it was in. `os.getpid` is a system call, 0.2 us of a send that takes 4; a
page that the kernel wipes in every child tells the same for 0.02 us.
"""

from __future__ import annotations

import mmap
import os
import sys
from threading import get_ident
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency.wakeup import sleep

if TYPE_CHECKING:
    from collections.abc import Callable

_WIPE_ON_FORK: Final = 18
"""MADV_WIPEONFORK of Linux (4.14), for which `mmap` has no name."""
_TICK: Final = 0.001
_PATIENCE: Final = 5.0


def _page() -> tuple[mmap.mmap | bytearray, bool]:
    if sys.platform == "linux":
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        try:
            page = mmap.mmap(-1, mmap.PAGESIZE, flags=private)
            page.madvise(_WIPE_ON_FORK)
        except OSError:  # an older kernel
            pass
        else:
            return page, True
    return bytearray(1), False


HOME, _WIPED = _page()
"""`HOME[0]` is 1 in the process that has stamped it, and 0 in a child of it. Where the
kernel wipes no page it stays 1, and only `check` notices."""

stamped: list[int] = []
"""The id of the process that has stamped last."""
_noticing: dict[int, int] = {}
_observers: list[Callable[[], None]] = []


def stamp() -> None:
    """This process knows that it is one of its own."""
    stamped[:] = [os.getpid()]
    HOME[0] = 1
    _noticing.clear()


def on_fork(observer: Callable[[], None]) -> None:
    """Call `observer` in a child in which no hook did; it stamps."""
    _observers.append(observer)


def check() -> None:
    """Start afresh if this is a child of which no hook has told. Thread-safe."""
    if not HOME[0] or (not _WIPED and stamped != [os.getpid()]):
        _notice()


def _notice() -> None:
    """One thread starts afresh, and others wait for it: what one of them opens is not
    to be taken for the parent's."""
    pid = os.getpid()
    if _noticing.setdefault(pid, get_ident()) != get_ident():
        for _ in range(int(_PATIENCE / _TICK)):
            if stamped == [pid]:
                return
            sleep(_TICK)
        return
    for observer in _observers:
        observer()


stamp()
