"""Threads, locks and identities of the system, also where gevent has replaced them.

`gevent.monkey` puts greenlets in the place of what `_thread` and `threading` have. It
does so before this library is imported, or after; so does eventlet. A library thread is
a thread of the system all the same, and what wakes it is a lock of the system.
"""

from __future__ import annotations

import _thread
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


def _original(name: str) -> Any:
    if "gevent.monkey" in sys.modules:
        return sys.modules["gevent.monkey"].get_original("_thread", name)
    if "eventlet.patcher" in sys.modules:
        return getattr(sys.modules["eventlet.patcher"].original("_thread"), name)
    return getattr(_thread, name)


allocate_lock: Final[Callable[[], _thread.LockType]] = _original("allocate_lock")
start_new_thread: Final[Callable[..., int]] = _original("start_new_thread")
thread_id: Final[Callable[[], int]] = _original("get_ident")
"""The calling thread; all greenlets of one thread have the same."""

_main: Final[list[int]] = []
"""The id of the main thread in a forked child, as the only entry."""

LIBRARY: Final[set[int]] = set()
"""The ids of the library's threads that run."""

USERS_CODE: Final[set[int]] = set()
"""The ids of the greenlets that the library has started for users' code."""


def run_marked(ids: set[int], me: int, run: Callable[[], None]) -> None:
    """Run `run`, and have `me` in `ids` meanwhile."""
    try:
        ids.add(me)
        run()
    finally:
        ids.discard(me)


def acquire(flag: _thread.LockType, timeout: float | None) -> bool:
    """Wait for `flag` at most `timeout` seconds (None: forever); whether it came."""
    if timeout is None:
        return flag.acquire()
    return flag.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX))


def caller_id() -> int:
    """Whose call this is: the id of the thread, or of the greenlet under gevent.

    Looked up anew each time: gevent replaces `threading.get_ident` by a function that
    tells greenlets apart.
    """
    return threading.get_ident()


def replaced_by() -> str | None:
    """What has replaced threads by greenlets: "gevent", "eventlet", or None."""
    if _thread.start_new_thread is start_new_thread:
        return None
    for name, module, patched, threads in _PATCHERS:
        # Without that function, it is being imported on another thread.
        asked = getattr(sys.modules.get(module), patched, None)
        if asked is not None and asked(threads):
            return name
    return None


_PATCHERS: Final = (
    ("gevent", "gevent.monkey", "is_module_patched", "threading"),
    ("eventlet", "eventlet.patcher", "is_monkey_patched", "thread"),
)


def on_main_thread() -> bool:
    """Whether signal handlers run on this thread, in whichever greenlet."""
    if replaced_by() != "gevent":
        return threading.current_thread() is threading.main_thread()
    main = _main[0] if _main else sys.modules["gevent.hub"].MAIN_THREAD_IDENT
    return bool(thread_id() == main)


def note_fork() -> None:
    """The calling thread is the only one, and the main one: this is a forked child."""
    LIBRARY.clear()
    USERS_CODE.clear()
    _main[:] = [thread_id()]


def ends_greenlet(error: BaseException) -> bool:
    """Whether `error` is one that gevent raises in a greenlet of the user's: a
    `gevent.Timeout` that is over, or the `GreenletExit` of a kill."""
    if replaced_by() != "gevent" or thread_id() in LIBRARY or caller_id() in USERS_CODE:
        return False
    gevent = sys.modules["gevent"]
    return isinstance(error, gevent.Timeout | gevent.GreenletExit)
