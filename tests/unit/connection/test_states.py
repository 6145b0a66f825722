"""The tables of legal moves, exhaustively."""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.still import StillProducer
from tests.doubles import Bench
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.connection.states import (
    MOVES,
    STATUS_MOVES,
    ConnectionState,
    Status,
    derive_status,
)
from waterdrop_py.errors import WaterdropError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from waterdrop_py.monitor import Event

LEGAL = {
    ("EMPTY", "OPENING"),
    ("EMPTY", "CLOSING"),
    ("OPENING", "OPEN"),
    ("OPENING", "EMPTY"),
    ("OPEN", "EMPTY"),
    ("OPEN", "CLOSING"),
    ("CLOSING", "CLOSED"),
}


@pytest.mark.parametrize(
    ("start", "end"), list(product(ConnectionState, ConnectionState))
)
def test_every_pair_of_states(start: ConnectionState, end: ConnectionState) -> None:
    """A connection moves along the table, and refuses every other move, unmoved."""
    connection = StillProducer(Bench()).connection
    connection.state = start
    if (start.name, end.name) in LEGAL:
        connection.move(end)
        assert connection.state is end
    else:
        with pytest.raises(WaterdropError, match="cannot go"):
            connection.move(end)
        assert connection.state is start


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("teardown", [True, False])
@pytest.mark.parametrize("state", ConnectionState)
def test_status_of_every_state(
    state: ConnectionState, *, opened: bool, teardown: bool
) -> None:
    """The public status says what the connection does, whatever came before."""
    empty = "configured"
    if opened:
        empty = "disconnected"
    if teardown:
        empty = "disconnecting"
    expected = {
        "EMPTY": empty,
        "OPENING": "connecting",
        "OPEN": "connected",
        "CLOSING": "closing",
        "CLOSED": "closed",
    }[state.name]
    assert str(derive_status(state, opened=opened, teardown=teardown)) == expected


def test_status_moves_follow_from_state_moves() -> None:
    """A legal move of the state is a legal move of the status too."""
    for start, ends in MOVES.items():
        for end, opened, teardown in product(ends, [True, False], [True, False]):
            if teardown and not opened:
                continue  # what is closed was opened
            before = derive_status(start, opened=opened, teardown=teardown)
            afterwards = opened or end is ConnectionState.OPEN
            let_go = teardown or (
                start is ConnectionState.OPEN and end is ConnectionState.EMPTY
            )
            after = derive_status(end, opened=afterwards, teardown=let_go)
            assert after in STATUS_MOVES[before], (start, end, opened, teardown)


def test_tables_are_whole() -> None:
    """Each state and status has its row, and closed is the end."""
    assert set(MOVES) == set(ConnectionState)
    assert set(STATUS_MOVES) == set(Status)
    assert STATUS_MOVES[Status.CLOSED] == frozenset()


def test_every_event_moves_the_status_legally() -> None:
    """Statuses seen by subscribers, in order, move along the table."""
    producer = StillProducer(Bench())
    seen = [producer.connection.status]

    def look(_: Event) -> None:
        if producer.connection.status is not seen[-1]:
            seen.append(producer.connection.status)

    with record(producer.monitor):
        for name in ("connecting", "connected", "disconnecting", "disconnected"):
            producer.monitor.subscribe(f"producer.{name}", look)
        for _ in range(2):
            open_noted(producer.connection, None)
            assert disconnect(producer.connection, "requested").teardown is not None
            producer.runtime.run_jobs()
    assert [str(status) for status in seen] == [
        "configured",
        *["connecting", "connected", "disconnecting", "disconnected"] * 2,
    ]
    assert all(after in STATUS_MOVES[before] for before, after in pairwise(seen))
