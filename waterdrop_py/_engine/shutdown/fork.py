"""What happens to clients when the process forks.

The hooks run for `os.fork`, for multiprocessing's fork and for
`subprocess(preexec_fn=)`; not for a plain subprocess, nor for spawn. A fork in C runs
none of them: the child's part is made up for by its first verb (`unhooked.py`).
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.concurrency import clock, threads, unhooked_forks
from waterdrop_py._engine.process.runtime import ENGINE
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Life
    from waterdrop_py._engine.connection.connection import ClientSlot
    from waterdrop_py._engine.connection.teardown import Batch, Ending

BUDGET: Final = 0.25
"""Seconds that a fork waits for closes and opens in all."""


class Fork:
    """The three hooks. No lock; what has to wait is bounded by BUDGET."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []

    def before(self) -> None:
        """Close what is safely idle, so that the child inherits none of its sockets."""
        deadline = clock.system_now() + BUDGET
        slots = ENGINE.slots()
        if not slots:
            return
        # The child needs it, and may not be able to import any more.
        importlib.import_module("ctypes")
        ENGINE.gate.shut(deadline)
        due = [slot for slot in slots if _idle_enough(slot)]
        if not due:
            return
        # One place more than clients: its subscribers hear of it after the fork.
        batch = ENGINE.batch(due, silent=True)
        self._batches.append(batch)
        endings: list[Ending] = []
        for slot in due:
            ending = slot.retire("fork", batch).ending
            if ending is None:
                batch.skip()
            else:
                endings.append(ending)
        for ending in endings:
            ending.wait_until(deadline)

    def after_in_parent(self) -> None:
        """Let opens go on, and tell of what was closed."""
        ENGINE.gate.open_again()
        while self._batches:
            self._batches.pop().skip()

    def after_in_child(self) -> None:
        """Start afresh: nothing of the parent's is touched, or ever destroyed."""
        slots = ENGINE.slots()
        endings = tuple(ENGINE.endings)
        self._batches.clear()
        watchers.WATCHED.clear()
        for life in [life for slot in slots for life in slot.lives()]:
            _leak(life)
        for ending in endings:
            _leak(ending.life)
        threads.start_afresh()
        ENGINE.reset()
        for slot in slots:
            slot.start_afresh()
        unhooked_forks.stamp()


def _idle_enough(slot: ClientSlot) -> bool:
    wait, life = slot.close_before_fork, slot.ledger.book[1]
    return (
        wait is not None
        and life is not None
        and not life.asks()  # it would be destroyed behind a native call
        and clock.now() - life.last_activity >= wait
    )


def _leak(life: Life) -> None:
    """Never let the inherited client be destroyed: its threads are the parent's, and
    a destroy that joins them would hang, even at the child's exit."""
    import ctypes

    client = life.client
    if client is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))
    life.plain = False
    life.arrived.clear()  # the parent settles it
    life.client = life.produce = None
    if life.lost is None:
        life.lost = ProduceError(
            "the process forked; the parent delivers this message (forked)",
            code="forked",
        )


FORK: Final = Fork()


def install() -> None:
    """Register the hooks; once, when the library is imported."""
    unhooked_forks.on_fork(FORK.after_in_child)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=FORK.before,
            after_in_parent=FORK.after_in_parent,
            after_in_child=FORK.after_in_child,
        )
