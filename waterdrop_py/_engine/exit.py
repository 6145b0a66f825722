"""What happens to producers that are still open when the process ends."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine import closing
from waterdrop_py._engine.engine import ENGINE
from waterdrop_py._engine.exit_report import EXIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


_LAST: Final = -100
"""Behind every finalizer of the user's own."""


def close_all() -> None:
    """Close every producer that is still open, each within its `close_timeout`.

    All stop taking messages at once and deliver side by side, so together they take
    as long as the slowest. Idempotent.
    """
    slots = [slot for slot in ENGINE.slots() if slot.status.value != "closed"]
    EXIT.begin(slots)
    for slot in slots:
        closing.begin(slot, slot.close_timeout)
    for slot in slots:
        try:
            EXIT.gave_up(slot, closing.close(slot, slot.close_timeout, force=False))
        except Exception as error:  # noqa: BLE001 - the others are closed all the same
            slot.emitter.error("producer.disconnect.error", error)
    EXIT.end()


def watch_exit() -> None:
    """See to it that this process closes what it opened. Called at each open.

    Two kinds of children run no atexit handlers: those of multiprocessing before
    Python 3.13, which run its own finalizers instead and clear them as they start, and
    those of Celery's prefork pool, which leave with `os._exit`. So both are asked for
    it at the first open in each process.
    """
    pid = os.getpid()
    for name, ask in _ASKED.items():
        module = sys.modules.get(name)
        if module is not None and _watched.get(name) != pid:
            _watched[name] = pid
            ask(module)


def _ask_multiprocessing(utilities: ModuleType) -> None:
    utilities.Finalize(None, _at_child_exit, exitpriority=_LAST)


def _ask_celery(signals: ModuleType) -> None:
    # Behind the receivers that the application has connected until now; a connection
    # that was made before the fork would be in front of them.
    signals.worker_process_shutdown.disconnect(_at_pool_exit)
    signals.worker_process_shutdown.connect(_at_pool_exit, weak=False)


_ASKED: Final[dict[str, Callable[[ModuleType], None]]] = {
    "multiprocessing.util": _ask_multiprocessing,
    "celery.signals": _ask_celery,
}
_watched: Final[dict[str, int]] = {}
"""Which process has asked, by the module that was asked."""


def _at_child_exit() -> None:
    """At the end of a multiprocessing process, before its other threads have ended."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return  # the main process has its atexit handler
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    close_all()


def _at_pool_exit(**_: object) -> None:
    """At the end of a Celery pool's process, which waits for no other thread."""
    if _watched.get("celery.signals") == os.getpid():
        close_all()


def install() -> None:
    """Register the handler; once, when the library is imported."""
    atexit.register(close_all)
