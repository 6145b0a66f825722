"""What happens to clients when the process forks.

The hooks run for `os.fork`, for multiprocessing's fork and for
`subprocess(preexec_fn=)`; not for a plain subprocess, nor for spawn. A fork in C runs
none of them; the first verb in the child does what the child's hook does
(`concurrency/unhooked_forks.py`).
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.factory import before_each_open
from waterdrop_py._engine.client.kafka_errors import forked_error
from waterdrop_py._engine.concurrency import background, clock, threads, unhooked_forks
from waterdrop_py._engine.concurrency.cooperative import hub_of_thread
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection.batch import batch_of
from waterdrop_py._engine.connection.connection import every_connection
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.process.runtime import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.batch import TeardownBatch
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.teardown import Teardown

BUDGET: Final = 0.25
"""Seconds that a fork waits for closes, opens and requests for metadata in all."""
_TICK: Final = 0.001
_IMPORTS: Final = ("ctypes", "confluent_kafka.admin", "difflib")
"""What the library imports when it is needed, on whichever thread: in `_leak`, for a
request for metadata, and for the error of a topic that does not exist."""


class Fork:
    """The three hooks. No lock; a fork waits for at most BUDGET, and before that once
    for imports."""

    def __init__(self) -> None:
        self._batches: list[TeardownBatch] = []

    def before(self) -> None:
        """Close what is idle, so that the child inherits none of its sockets."""
        connections = every_connection()
        if not connections:
            return
        # The child may not be able to import any more. If a library thread is in the
        # middle of such an import, this waits for its end. Otherwise the child has a
        # part of the module for good (test_fork_in_the_middle_of_an_import). The bound
        # begins afterwards: it is for the request that imports, and for the clients.
        _import()
        deadline = clock.system_now() + BUDGET
        RUNTIME.fork_guard.begin_fork(deadline)
        due = _due(connections, deadline)
        if not due:
            return
        # Silent: subscribers are told after the fork.
        batch = batch_of(RUNTIME, len(due), silent=True)
        self._batches.append(batch)
        teardowns: list[Teardown] = []
        for connection in due:
            teardown = disconnect(connection, "fork", batch).teardown
            if teardown is None:
                batch.skip()
            else:
                teardowns.append(teardown)
        for teardown in teardowns:
            teardown.wait_until(deadline)

    def after_in_parent(self) -> None:
        """Let opens continue, and announce what was closed."""
        RUNTIME.fork_guard.end_fork()
        while self._batches:
            self._batches.pop().skip()

    def after_in_child(self) -> None:
        """Start afresh: nothing of the parent's is used, or ever destroyed."""
        connections = every_connection()
        self._batches.clear()
        watchers.WATCHED.clear()
        for client in RUNTIME.clients():
            _leak(client)
        threads.start_afresh()
        RUNTIME.reset()
        for connection in connections:
            connection.start_afresh()
        unhooked_forks.stamp()


def _import() -> None:
    for name in _IMPORTS:
        importlib.import_module(name)


def import_ahead() -> None:
    """Under gevent, import before a client opens what library threads would import.

    A lock of an import is one of gevent's then. A greenlet that waits for it while a
    library thread imports gets a `LoopExit` (test_the_end_of_a_process). So this waits.
    """
    if hub_of_thread() is not None and not all(
        name in sys.modules for name in _IMPORTS
    ):
        background.call(_import)  # 25 ms


def _due(connections: Sequence[Connection], deadline: float) -> list[Connection]:
    """The connections whose clients are idle long enough and in no native call.

    A client would be destroyed only after such a call. The library's own requests for
    metadata are waited for (test_a_fork_waits_for_a_request_of_the_librarys_own).
    """
    idle = [connection for connection in connections if _idle_enough(connection)]
    while clock.system_now() < deadline and any(
        connection.client.asking.running() and not connection.client.asking.callers
        for connection in idle
    ):
        sleep(_TICK)
    return [connection for connection in idle if not connection.client.asking.running()]


def _idle_enough(connection: Connection) -> bool:
    wait, client = connection.close_before_fork, connection.ledger.book[1]
    return (
        wait is not None
        and client is not None
        and clock.now() - client.last_activity >= wait
    )


def _leak(client: Client) -> None:
    """Keep the inherited client from ever being destroyed. Its threads are the
    parent's: a destroy would join them and hang, even at the child's exit."""
    import ctypes

    native = client.native
    if native is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(native))
    client.observe_reports()
    client.arrived.clear()  # the parent settles that
    client.drop_native()
    client.give_up(forked_error())


FORK: Final = Fork()


def install() -> None:
    """Register the hooks; once, when the library is imported."""
    unhooked_forks.on_fork(FORK.after_in_child)
    before_each_open(import_ahead)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=FORK.before,
            after_in_parent=FORK.after_in_parent,
            after_in_child=FORK.after_in_child,
        )
