"""The state of a producer that closes: begun, ended, opened again at the exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.connection.connection import NO_CLIENT, ONLY
from waterdrop_py._engine.connection.states import ConnectionState

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.hooks import Closing


def close_by(connection: Connection, shutdown: Closing) -> Closing:
    """Have `shutdown` close the producer, unless another one does; the one that does.

    Without the lifecycle lock, which the calling thread may hold further down its
    stack: one atomic `dict.setdefault`.
    """
    return connection.shutdowns.setdefault(ONLY, shutdown)


def refuse_senders(connection: Connection) -> Client | None:
    """Refuse senders from now on, and return the client that is to be closed.

    Waits for an open in progress, however long it takes. Again does no harm: a signal
    handler may raise behind each step, so the client is taken from the ledger.
    """
    while True:
        hold = Hold()
        try:
            if connection.lock.take(hold):
                if not connection.is_closing:
                    connection.move(ConnectionState.CLOSING)
                connection.client = NO_CLIENT
                connection.ledger.stop()
                return connection.ledger.book[1]
        finally:
            connection.release(hold)
        connection.lock.wait(None, connection.reports.checklist)


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
            connection.shutdowns.clear()
            connection.reports.stop_accounting()
            connection.hooks.reset()
            connection.state = ConnectionState.EMPTY  # no move: as in a forked child
    finally:
        connection.release(hold)
    return not connection.is_closing
