"""`Claim`: held by one ticket, wherever a signal handler raises."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.concurrency.locks import Claim, Ticket

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


def test_one_holder() -> None:
    """The first ticket has it; the next one does not, and cannot release it."""
    claim, first, second = Claim(), Ticket(), Ticket()
    assert claim.take(first)
    assert claim.taken
    assert claim.held_by(first)
    assert not claim.take(second)
    assert not claim.release(second)
    assert claim.release(first)
    assert not claim.taken


def test_taking_again_with_the_same_ticket() -> None:
    """It still holds it: an interrupted take may be repeated."""
    claim, ticket = Claim(), Ticket()
    assert claim.take(ticket)
    assert claim.take(ticket)
    assert claim.release(ticket)
    assert not claim.taken


def test_release_without_a_hold() -> None:
    """Does nothing, before a take and after a release."""
    claim, ticket = Claim(), Ticket()
    assert not claim.release(ticket)
    claim.take(ticket)
    claim.release(ticket)
    assert not claim.release(ticket)


def test_mine() -> None:
    """Only the holder's thread finds itself; a free claim has no holder."""
    claim, ticket = Claim(), Ticket()
    assert not claim.mine
    claim.take(ticket)
    seen = [claim.mine]
    ticket.thread = -1
    assert [*seen, claim.mine, claim.taken] == [True, False, True]


def test_an_interrupted_release_is_made_up_for() -> None:
    """A ticket that is in no frame frees its claim; one that is in a frame does not."""
    claim = Claim()

    def interrupted() -> None:
        assert claim.take(Ticket())

    interrupted()
    assert claim.heal()
    ticket = Ticket()
    assert claim.take(ticket)
    assert not claim.heal()
    assert claim.held_by(ticket)


def test_the_walk_survives_a_changing_frame() -> None:
    """The holder's thread runs meanwhile: its variables come and go."""
    claim, inside, stop = Claim(), threading.Event(), threading.Event()

    def hold() -> None:
        looked_at_first = also = and_this = None
        ticket = Ticket()
        assert claim.take(ticket)
        inside.set()
        while not stop.is_set():
            passing = 1
            locals()  # up to Python 3.12, all callers share one dictionary
            del passing
            locals()
        assert looked_at_first is also is and_this

    holder = threading.Thread(target=hold)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        holder.start()
        assert inside.wait(10)
        assert not any(claim.heal() for _ in range(30_000))
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        holder.join(10)
    assert not holder.is_alive()


def test_a_thread_that_goes_on_is_not_robbed(  # noqa: PLR0915 - one interleaving
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It leaves a generator that is looked at, and no way leads down from there.

    The walk is at the frame of a generator. The generator yields, and its frame has no
    frame below it then. The walk goes on, and does not find the ticket.
    """
    claim, entered, go, left, stop = Claim(), *(threading.Event() for _ in range(4))

    def generator() -> Iterator[None]:
        entered.set()
        go.wait(10)
        yield
        stop.wait(10)

    def hold() -> None:
        ticket = Ticket()
        assert claim.take(ticket)
        for _ in generator():
            left.set()
            stop.wait(10)

    holder = threading.Thread(target=hold)
    current: Any = sys._current_frames  # noqa: SLF001 - what the claim reads

    def frames() -> dict[int, Any]:
        """The present frames; then the thread goes on."""
        found: dict[int, Any] = current()
        if not go.is_set():
            thread = holder.ident or 0
            while found[thread].f_code.co_name != "generator":
                found[thread] = found[thread].f_back
            go.set()
            assert left.wait(10)
        return found

    holder.start()
    try:
        assert entered.wait(10)
        monkeypatch.setattr(sys, "_current_frames", frames)
        assert not claim.heal()
        assert claim.taken
    finally:
        stop.set()
        holder.join(10)


def test_two_threads_release_one_ticket() -> None:
    """The slower one of two does not release what a third thread has taken.

    Both have seen that the ticket holds it. The first releases it, a third takes
    it; then the second goes on.
    """
    claim, shared, third = Claim(), Ticket(), Ticket()
    claim.take(shared)

    def overtaken() -> Iterator[int]:
        """The ticket's only release; the first thread was faster."""
        shared.right = mine
        assert claim.release(shared)
        assert claim.take(third)
        yield from mine

    mine = shared.right
    shared.right = overtaken()
    assert not claim.release(shared)
    assert claim.held_by(third)
