"""The state of a producer that closes: begun, ended, opened again at the exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.connection.states import ConnectionState
from waterdrop_py.errors import DeliveryTimeoutError, ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.hooks import Closing


def begin_closing(
    connection: Connection, make: Callable[[Client | None], Closing], deadline: float
) -> Closing | None:
    """Refuse senders from now on, and return the close of the producer.

    `make(client)` makes it, of the client that is to be closed; once, with the lock
    held. None if another thread holds the lock until `deadline`, or this very thread
    does, further down its stack.
    """
    while connection.shutdown is None:
        hold = Hold()
        try:
            if connection.lock.take(hold):
                if connection.shutdown is None:
                    # A signal handler may raise behind each step. So all can be
                    # repeated, and the client is taken from the ledger.
                    if not connection.is_closing:
                        connection.move(ConnectionState.CLOSING)
                    connection.client = NO_CLIENT
                    connection.shutdown = make(connection.ledger.book[1])
                break
        finally:
            connection.release(hold)
        try:
            connection.lock.wait(deadline, connection.reports.checklist)
        except (ReentrantCallError, DeliveryTimeoutError):
            return None
    return connection.shutdown


def finish_closing(connection: Connection) -> None:
    """The clients are destroyed, or given up. Again does no harm."""
    if connection.state is not ConnectionState.CLOSED:
        connection.move(ConnectionState.CLOSED)


def reopen(connection: Connection) -> bool:
    """Have a closed producer open again, for what is sent after the exit handler.

    Waits until its close has ended, for at most `close_timeout`; whether it is open.
    """
    closing = connection.shutdown
    if closing is None or closing.must_not_wait():
        return False
    closing.wait(clock.system_now() + connection.close_timeout)
    hold = Hold()
    try:
        if connection.lock.take(hold) and connection.state is ConnectionState.CLOSED:
            connection.shutdown = None
            connection.reports.stop_accounting()
            connection.hooks.reset()
            connection.state = ConnectionState.EMPTY  # no move: as in a forked child
    finally:
        connection.release(hold)
    return not connection.is_closing
