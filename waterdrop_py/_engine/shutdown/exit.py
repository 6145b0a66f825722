"""What happens to producers that are still open when the process ends."""

from __future__ import annotations

import atexit

from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.process.runtime import ENGINE
from waterdrop_py._engine.shutdown import close
from waterdrop_py._engine.shutdown.exit_report import EXIT


def close_all() -> None:
    """Close every producer that is still open, each within its `close_timeout`.

    All stop taking messages at once and deliver side by side, so together they take
    as long as the slowest. Then the library's threads end, and what is sent from now on
    is delivered then and there (`late.py`). Idempotent.
    """
    check()
    try:
        _close_each()
    finally:
        ENGINE.end()


def _close_each() -> None:
    slots = [slot for slot in ENGINE.slots() if slot.status.value != "closed"]
    EXIT.begin(slots)
    for slot in slots:
        if slot.closing is None:  # else the user closes it, for good
            slot.by_exit = True
        close.begin(slot, slot.close_timeout)
    for slot in slots:
        try:
            EXIT.gave_up(slot, close.close(slot, slot.close_timeout, force=False))
        except Exception as error:  # noqa: BLE001 - the others are closed all the same
            slot.emitter.error("producer.disconnect.error", error)
    EXIT.end()


def install() -> None:
    """Register the handler; once, when the library is imported."""
    atexit.register(close_all)
