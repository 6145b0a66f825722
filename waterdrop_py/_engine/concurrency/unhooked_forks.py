"""How a fork without Python hooks is noticed, such as those of uWSGI's master.

Nothing calls the library in such a child, so each verb checks that it runs in the same
process as before. `os.getpid` is a system call and takes 0.2 of a send's 4 us. A page
that the kernel wipes in every child tells the same in 0.02 us.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency.native import caller_id
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


HOME, WIPED = _page()
"""`HOME[0]` is 1 in the process that has stamped it, and 0 in its children. Where the
kernel cannot wipe pages (`WIPED` is False) it stays 1, and only `check` notices."""

stamped: list[int] = []
"""The id of the process that has stamped last, as the only entry."""
_noticing: dict[int, int] = {}
_observers: list[Callable[[], None]] = []


def stamp() -> None:
    """Note that the library's state is this process's own."""
    stamped[:] = [os.getpid()]
    HOME[0] = 1
    _noticing.clear()


def on_fork(observer: Callable[[], None]) -> None:
    """Call `observer` in a child that no hook has prepared; it calls `stamp`."""
    _observers.append(observer)


def check() -> None:
    """Start afresh if this is a child that no hook has prepared. Thread-safe."""
    if not HOME[0] or (not WIPED and stamped != [os.getpid()]):
        _notice()


def _notice() -> None:
    """Start afresh on one thread, while others wait: a client that one of them opens
    must not be taken for the parent's."""
    pid = os.getpid()
    if _noticing.setdefault(pid, caller_id()) != caller_id():
        for _ in range(int(_PATIENCE / _TICK)):
            if stamped == [pid]:
                return
            sleep(_TICK)
        return
    for observer in _observers:
        observer()


stamp()
