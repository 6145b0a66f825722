"""What happens to producers that are still open when the process ends."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine import closing
from waterdrop_py._engine.engine import ENGINE

if TYPE_CHECKING:
    from waterdrop_py._engine.drain import DrainReport
    from waterdrop_py._engine.slot import ClientSlot

_LAST: Final = -100
"""Behind every finalizer of the user's own."""


def close_all() -> None:
    """Close every producer that is still open, each within its `close_timeout`.

    All stop taking messages at once and deliver side by side, so together they take
    as long as the slowest. Idempotent.
    """
    slots = [slot for slot in ENGINE.slots() if slot.status.value != "closed"]
    for slot in slots:
        closing.begin(slot, slot.close_timeout)
    for slot in slots:
        try:
            _tell(slot, closing.close(slot, slot.close_timeout, force=False))
        except Exception as error:  # noqa: BLE001 - the others are closed all the same
            slot.emitter.error("producer.disconnect.error", error)


def _tell(slot: ClientSlot, report: DrainReport) -> None:
    if report.undelivered or not report.complete:
        topics = sorted({message.topic for message in report.undelivered})
        warnings.warn(
            f"producer {slot.emitter.producer_id!r} could not deliver "
            f"{len(report.undelivered)} messages before the process ended, to the "
            f"topics {', '.join(topics)}",
            ResourceWarning,
            stacklevel=2,
        )


def watch_exit() -> None:
    """See to it that this process closes what it opened. Called at each open.

    A multiprocessing child runs no atexit handlers before Python 3.13, but its own
    finalizers, which it clears when it starts: so it is asked for at the first open.
    """
    utilities = sys.modules.get("multiprocessing.util")
    if utilities is None or _watched == os.getpid():
        return
    _note_watched()
    utilities.Finalize(None, _at_child_exit, exitpriority=_LAST)


_watched = 0


def _note_watched() -> None:
    global _watched  # noqa: PLW0603 - one process, one finalizer
    _watched = os.getpid()


def _at_child_exit() -> None:
    """At the end of a multiprocessing process, before its other threads have ended."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return  # the main process has its atexit handler
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    close_all()


def install() -> None:
    """Register the handler; once, when the library is imported."""
    atexit.register(close_all)
