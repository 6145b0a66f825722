"""The states of a slot, the public status, and the tables of legal moves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class ConnectionState(Enum):
    """Where a slot stands. A client that is being closed is beside the state:

    the slot lets go of it first (`Connection.teardown`), so that the next send
    need not wait for a close.
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
        # Back where it was when the open failed, or its last client still closes.
        {
            Status.CONNECTED,
            Status.CONFIGURED,
            Status.DISCONNECTING,
            Status.DISCONNECTED,
        }
    ),
    Status.CONNECTED: frozenset({Status.DISCONNECTING, Status.CLOSING}),
    # CONNECTING: a send that meets a closing client goes to the next one.
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
    """The public status of a slot in `state`."""
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
