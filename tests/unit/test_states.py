"""The tables of legal moves, exhaustively."""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.still import StillProducer
from tests.doubles import Bench
from waterdrop_py._engine.connection.states import (
    MOVES,
    STATUS_MOVES,
    SlotState,
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


@pytest.mark.parametrize(("start", "end"), list(product(SlotState, SlotState)))
def test_every_pair_of_states(start: SlotState, end: SlotState) -> None:
    """A slot moves along the table, and refuses every other move, itself unmoved."""
    slot = StillProducer(Bench()).slot
    slot.state = start
    if (start.name, end.name) in LEGAL:
        slot._move(end)  # noqa: SLF001 - the one function that moves
        assert slot.state is end
    else:
        with pytest.raises(WaterdropError, match="cannot go"):
            slot._move(end)  # noqa: SLF001
        assert slot.state is start


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("retiring", [True, False])
@pytest.mark.parametrize("state", SlotState)
def test_status_of_every_state(
    state: SlotState, *, opened: bool, retiring: bool
) -> None:
    """The public status says what the slot does, whatever came before."""
    empty = "configured"
    if opened:
        empty = "disconnected"
    if retiring:
        empty = "disconnecting"
    expected = {
        "EMPTY": empty,
        "OPENING": "connecting",
        "OPEN": "connected",
        "CLOSING": "closing",
        "CLOSED": "closed",
    }[state.name]
    assert str(derive_status(state, opened=opened, retiring=retiring)) == expected


def test_status_moves_follow_from_slot_moves() -> None:
    """Whatever a legal move of a slot does to the status is a legal move of it."""
    for start, ends in MOVES.items():
        for end, opened, retiring in product(ends, [True, False], [True, False]):
            if retiring and not opened:
                continue  # what is let go of was opened
            before = derive_status(start, opened=opened, retiring=retiring)
            afterwards = opened or end is SlotState.OPEN
            let_go = retiring or (start is SlotState.OPEN and end is SlotState.EMPTY)
            after = derive_status(end, opened=afterwards, retiring=let_go)
            assert after in STATUS_MOVES[before], (start, end, opened, retiring)


def test_tables_are_whole() -> None:
    """Each state and status has its row, and closed is the end."""
    assert set(MOVES) == set(SlotState)
    assert set(STATUS_MOVES) == set(Status)
    assert STATUS_MOVES[Status.CLOSED] == frozenset()


def test_every_event_moves_the_status_legally() -> None:
    """Statuses seen by subscribers, in order, move along the table."""
    producer = StillProducer(Bench())
    seen = [producer.slot.status]

    def look(_: Event) -> None:
        if producer.slot.status is not seen[-1]:
            seen.append(producer.slot.status)

    with record(producer.monitor):
        for name in ("connecting", "connected", "disconnecting", "disconnected"):
            producer.monitor.subscribe(f"producer.{name}", look)
        for _ in range(2):
            producer.slot.ready(None)
            assert producer.slot.retire("requested").ending is not None
            producer.engine.run_jobs()
    assert [str(status) for status in seen] == [
        "configured",
        *["connecting", "connected", "disconnecting", "disconnected"] * 2,
    ]
    assert all(after in STATUS_MOVES[before] for before, after in pairwise(seen))
