"""A lock that is only ever tried, and that knows its own thread."""

from __future__ import annotations

import sys
from threading import get_ident
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType


_HOLDER: Final = 0


def _is_local_of(thread: int, value: object, own: FrameType) -> bool:
    """Whether a frame of `thread` has `value` as a local variable.

    `own` is where to begin when that thread is the calling one. Another one may go on
    meanwhile, and leave a frame that is looked at, a generator's even without a way to
    those below it. So what was not found counts as there when that thread has moved
    (test_a_thread_that_goes_on_is_not_robbed).
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
        # A copy, made in one call of C: up to Python 3.12 the dictionary is the frame's
        # own, which goes on (test_healing_while_the_looked_at_frame_changes).
        if any(each is value for each in list(frame.f_locals.values())):
            return True
        frame = frame.f_back
    return False


class Ticket:
    """One attempt to take a claim; made before the attempt, so that a `finally` has it.

    An exception may be raised between any two steps of a `take` (a signal
    handler's KeyboardInterrupt). `claim.release(ticket)` does nothing unless the
    claim is held by this very ticket, so `try: take(ticket) ... finally:
    release(ticket)` is right wherever it was torn.
    """

    __slots__ = ("right", "thread")

    def __init__(self) -> None:
        self.thread = get_ident()
        self.right = iter((_HOLDER,))  # good for one release


class Claim:
    """The right to do something, held by at most one ticket.

    No `threading` lock, for two reasons. User code runs while it is held (a
    delivery callback runs inside the poll turn), and a signal handler or a
    finalizer of the holding thread must be able to find out that waiting would
    be waiting for itself. One atomic `dict.setdefault` decides, and puts the
    holder's thread there in the same step: there is no moment at which the
    claim is held and its holder unknown. Never blocks; safe in signal handlers.
    """

    __slots__ = ("_holder",)

    def __init__(self) -> None:
        self._holder: dict[int, Ticket] = {}

    def take(self, ticket: Ticket) -> bool:
        """Take the claim if nobody has it."""
        return self._holder.setdefault(_HOLDER, ticket) is ticket

    def held_by(self, ticket: Ticket) -> bool:
        """Whether this very ticket holds it."""
        return self._holder.get(_HOLDER) is ticket

    def release(self, ticket: Ticket) -> bool:
        """Give it back; False when this ticket does not hold it.

        Two threads may release one ticket (the poller's deputy releases the
        leader's): the iterator lets one of them through, so that the other does
        not throw out whoever took the claim meanwhile. A ticket is good for one
        hold (test_two_threads_release_one_ticket).
        """
        if self._holder.get(_HOLDER) is not ticket:
            return False
        # One call of C, so that no signal handler can raise between the right's use
        # and the release (test_handler_that_raises).
        return bool(list(map(self._holder.pop, ticket.right)))

    def heal(self) -> bool:
        """Free the claim if whoever took it is not there any more.

        A signal handler may raise on the first bytecode of the very call that was to
        release it. The ticket is a local variable of whoever holds the claim, so a
        thread that has it in no frame does not (test_a_torn_release_is_healed). For
        claims whose tickets are nothing but local variables. Costs a walk down one
        stack, so it is asked for where a wait is long, or would be for oneself.
        """
        holder = self._holder.get(_HOLDER)
        if holder is None:
            return False
        if _is_local_of(holder.thread, holder, sys._getframe(1)):  # noqa: SLF001 - documented
            return False
        return self.release(holder)

    @property
    def taken(self) -> bool:
        """Whether anybody holds it now."""
        return _HOLDER in self._holder

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds it, further down its own stack."""
        holder = self._holder.get(_HOLDER)
        return holder is not None and holder.thread == get_ident()
