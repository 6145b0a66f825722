"""The states of a connection, the public status, and the tables of legal moves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class ConnectionState(Enum):
    """The state of a connection.

    A client that is being closed is no part of it: it is in `Connection.teardown`, so
    the next send does not wait for the close.
    """

    EMPTY = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


MOVES: Final[dict[ConnectionState, frozenset[ConnectionState]]] = {
    ConnectionState.EMPTY: frozenset(
        {ConnectionState.OPENING, ConnectionState.CLOSING}
    ),
    ConnectionState.OPENING: frozenset({ConnectionState.OPEN, ConnectionState.EMPTY}),
    ConnectionState.OPEN: frozenset({ConnectionState.EMPTY, ConnectionState.CLOSING}),
    ConnectionState.CLOSING: frozenset({ConnectionState.CLOSED}),
    ConnectionState.CLOSED: frozenset(),
}


class Status(str, Enum):
    """What a producer is doing. `str(status)` is the lower-case name, as in JSON."""

    CONFIGURED = "configured"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTING = "disconnecting"
    DISCONNECTED = "disconnected"
    CLOSING = "closing"
    CLOSED = "closed"

    def __str__(self) -> str:
        return str(self.value)


STATUS_MOVES: Final[dict[Status, frozenset[Status]]] = {
    Status.CONFIGURED: frozenset({Status.CONNECTING, Status.CLOSING}),
    Status.CONNECTING: frozenset(
        # Back to where it was when the open failed, or while its last client closes.
        {
            Status.CONNECTED,
            Status.CONFIGURED,
            Status.DISCONNECTING,
            Status.DISCONNECTED,
        }
    ),
    Status.CONNECTED: frozenset({Status.DISCONNECTING, Status.CLOSING}),
    # CONNECTING: a send during the close of a client opens the next one.
    Status.DISCONNECTING: frozenset(
        {Status.DISCONNECTED, Status.CONNECTING, Status.CLOSING}
    ),
    Status.DISCONNECTED: frozenset({Status.CONNECTING, Status.CLOSING}),
    Status.CLOSING: frozenset({Status.CLOSED}),
    Status.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a client may not be closed now; a reason of `IdleReport`."""

    code: str
    count: int = 1
    age_ms: float | None = None
    owner: str | None = None


def derive_status(state: ConnectionState, *, opened: bool, teardown: bool) -> Status:
    """The public status. `opened`: a client was open before; `teardown`: one is being
    closed."""
    match state:
        case ConnectionState.EMPTY:
            if teardown:
                return Status.DISCONNECTING
            return Status.DISCONNECTED if opened else Status.CONFIGURED
        case ConnectionState.OPENING:
            return Status.CONNECTING
        case ConnectionState.OPEN:
            return Status.CONNECTED
        case ConnectionState.CLOSING:
            return Status.CLOSING
        case ConnectionState.CLOSED:
            return Status.CLOSED
