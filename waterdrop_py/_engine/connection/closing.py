"""How a producer's close begins and ends, and how one opens again at the exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Ticket
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
    """Take the client from the senders; from here on they are refused.

    `make` makes the close of the producer out of the client that it has to close; once,
    and with the lock held. None when the lock cannot be had before `deadline`, or is
    held by this very thread, further down.
    """
    while connection.shutdown is None:
        ticket = Ticket()
        try:
            if connection.lock.take(ticket):
                if connection.shutdown is None:
                    # Each step may be the last before a signal handler raises:
                    # they can be done again, and the ledger knows the client.
                    if not connection.is_closing:
                        connection.move(ConnectionState.CLOSING)
                    connection.client = NO_CLIENT
                    connection.shutdown = make(connection.ledger.book[1])
                break
        finally:
            connection.release(ticket)
        try:
            connection.lock.wait(deadline, connection.reports.checklist)
        except (ReentrantCallError, DeliveryTimeoutError):
            return None
    return connection.shutdown


def finish_closing(connection: Connection) -> None:
    """Everything is destroyed, or given up. Again after a torn close."""
    if connection.state is not ConnectionState.CLOSED:
        connection.move(ConnectionState.CLOSED)


def reopen(connection: Connection) -> bool:
    """Open a closed producer again, once its close has ended; whether it is open.

    For what is sent behind the exit handler. Blocks for at most `close_timeout`.
    """
    closing = connection.shutdown
    if closing is None or closing.must_not_wait():
        return False
    closing.wait(clock.system_now() + connection.close_timeout)
    ticket = Ticket()
    try:
        if connection.lock.take(ticket) and connection.state is ConnectionState.CLOSED:
            connection.shutdown = None
            connection.reports.stop_drain()
            connection.hooks.reset()
            connection.state = ConnectionState.EMPTY  # no move: as in a forked child
    finally:
        connection.release(ticket)
    return not connection.is_closing
