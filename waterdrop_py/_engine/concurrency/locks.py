"""`Claim`: a lock that is only ever tried, and that knows the thread that holds it."""

from __future__ import annotations

import sys
from threading import get_ident
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType


_HOLDER: Final = 0


def _is_local_of(thread: int, value: object, own: FrameType) -> bool:
    """Whether a frame of `thread` has `value` as a local variable.

    `own` is the frame to begin with when that is the calling thread. Another thread
    may run meanwhile, and leave the frames that are walked. So the answer is also yes
    when that thread has moved (test_a_thread_that_goes_on_is_not_robbed).
    """
    if thread != get_ident():
        frames = sys._current_frames  # noqa: SLF001 - documented
        top = frames().get(thread)
        if top is None:
            return False
        place = top.f_lasti
        found = _is_in(top, value)
        still = frames().get(thread) is top and top.f_lasti == place
        return found or not still
    return _is_in(own, value)


def _is_in(frame: FrameType | None, value: object) -> bool:
    """Whether that frame, or one below it, has `value` as a local variable."""
    while frame is not None:
        # A copy, made in one call of C: up to Python 3.12 the running frame changes the
        # dictionary (test_the_walk_survives_a_changing_frame).
        if any(each is value for each in list(frame.f_locals.values())):
            return True
        frame = frame.f_back
    return False


class Ticket:
    """One attempt to take a claim, made beforehand so that a `finally` has it.

    A signal handler may raise between any two steps of `take`. `release(ticket)` does
    nothing unless this very ticket holds the claim. So `try: take(ticket) ... finally:
    release(ticket)` is right wherever the exception came.
    """

    __slots__ = ("right", "thread")

    def __init__(self) -> None:
        self.thread = get_ident()
        self.right = iter((_HOLDER,))  # good for one release


class Claim:
    """A lock held by at most one ticket. Never blocks; safe in signal handlers.

    Not a `threading` lock: user code runs while it is held, and a signal handler or a
    finalizer of the holding thread must see that it would wait for itself. One atomic
    `dict.setdefault` takes it and notes the thread, so the holder is always known.
    """

    __slots__ = ("_holder",)

    def __init__(self) -> None:
        self._holder: dict[int, Ticket] = {}

    def take(self, ticket: Ticket) -> bool:
        """Take it if it is free; whether this ticket holds it now."""
        return self._holder.setdefault(_HOLDER, ticket) is ticket

    def held_by(self, ticket: Ticket) -> bool:
        """Whether this ticket holds it."""
        return self._holder.get(_HOLDER) is ticket

    def release(self, ticket: Ticket) -> bool:
        """Release it; False when this ticket does not hold it.

        Two threads may release one ticket (the poller's deputy releases the leader's).
        The iterator lets one of them through, so the other does not release what a
        third thread has taken meanwhile. A ticket serves for one hold
        (test_two_threads_release_one_ticket).
        """
        if self._holder.get(_HOLDER) is not ticket:
            return False
        # One call of C: no signal handler can raise between the iterator's step and the
        # release (test_handler_that_raises).
        return bool(list(map(self._holder.pop, ticket.right)))

    def heal(self) -> bool:
        """Release the claim if its holder has ended without a release; whether it did.

        A signal handler may raise on the first bytecode of the call that was to release
        it. The ticket is a local variable of the holder, so a thread that has it in no
        frame does not hold it (test_an_interrupted_release_is_made_up_for). For claims
        whose tickets are local variables only. It walks down one stack, so it is used
        where a wait is long, or would be for the calling thread.
        """
        holder = self._holder.get(_HOLDER)
        if holder is None:
            return False
        if _is_local_of(holder.thread, holder, sys._getframe(1)):  # noqa: SLF001 - documented
            return False
        return self.release(holder)

    @property
    def taken(self) -> bool:
        """Whether it is held now."""
        return _HOLDER in self._holder

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds it, further down its stack."""
        holder = self._holder.get(_HOLDER)
        return holder is not None and holder.thread == get_ident()
