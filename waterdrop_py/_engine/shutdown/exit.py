"""Closing the producers that are still open when the process ends."""

from __future__ import annotations

import atexit
from functools import partial

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.closing import reopen
from waterdrop_py._engine.connection.connection import every_connection
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.shutdown import close
from waterdrop_py._engine.shutdown.exit_report import EXIT


def close_all() -> None:
    """Close every producer that is still open, each within its `close_timeout`.

    All refuse messages at once and deliver at the same time, so together they take as
    long as the slowest. Then the library's threads end, and each later send blocks
    until it is delivered (`connection/late.py`). Idempotent.
    """
    check()
    try:
        _close_each()
    finally:
        RUNTIME.end()


def _close_each() -> None:
    connections = [
        connection for connection in every_connection() if not connection.is_closed
    ]
    EXIT.begin(connections)
    closes = []
    for connection in connections:
        if connection.shutdown is None:  # otherwise the user closes it, for good
            connection.hooks.reopen_with(partial(reopen, connection))
        deadline = clock.system_now() + connection.close_timeout
        shutdown = close.start(connection, deadline)
        shutdown.begin_here()
        closes.append((connection, shutdown, deadline))
    for connection, shutdown, deadline in closes:
        try:
            shutdown.run_here()
            EXIT.gave_up(connection, shutdown.wait(deadline))
        except Exception as error:  # noqa: BLE001 - the others are closed all the same
            connection.emitter.error("producer.disconnect.error", error)
    EXIT.end()


def install() -> None:
    """Register the exit handler, when the library is imported.

    Again later, so that it runs before the handlers that were registered meanwhile,
    such as those of an exporter. What these still send is sent all the same.
    """
    atexit.register(close_all)
