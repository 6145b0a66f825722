"""A lock that is only ever tried, and that knows its own thread."""

from __future__ import annotations

import weakref
from threading import get_ident
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLDER: Final = 0


class Ticket:
    """One attempt to take a claim; made before the attempt, so that a `finally` has it.

    An exception may be raised between any two steps of a `take` (a signal
    handler's KeyboardInterrupt). `claim.release(ticket)` does nothing unless the
    claim is held by this very ticket, so `try: take(ticket) ... finally:
    release(ticket)` is right wherever it was torn.

    A handler may even raise as the release itself begins. So a claim holds its
    ticket weakly: a ticket that nobody has any more has given the claim back.
    """

    __slots__ = ("__weakref__", "right", "thread")

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

    __slots__ = ("_holder", "_rights")

    def __init__(self) -> None:
        self._holder: dict[int, weakref.ref[Ticket]] = {}
        self._rights: dict[int, Iterator[int]] = {}

    def take(self, ticket: Ticket) -> bool:
        """Take the claim if nobody has it."""
        mine = weakref.ref(ticket)
        holder = self._holder.setdefault(_HOLDER, mine)
        if holder is not mine and holder() is None:
            self._expire(holder)
            holder = self._holder.setdefault(_HOLDER, mine)
        return holder() is ticket

    def held_by(self, ticket: Ticket) -> bool:
        """Whether this very ticket holds it."""
        return self._ticket() is ticket

    def release(self, ticket: Ticket) -> bool:
        """Give it back; False when this ticket does not hold it.

        Two threads may release one ticket (the poller's deputy releases the
        leader's): the iterator lets one of them through, so that the other does
        not throw out whoever took the claim meanwhile. A ticket is good for one
        hold (test_two_threads_release_one_ticket).
        """
        if self._ticket() is not ticket:
            return False
        # One call of C, so that no signal handler can raise between the right's use
        # and the release (test_handler_that_raises).
        return bool(list(map(self._holder.pop, ticket.right)))

    @property
    def taken(self) -> bool:
        """Whether anybody holds it now."""
        return self._ticket() is not None

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds it, further down its own stack."""
        holder = self._ticket()
        return holder is not None and holder.thread == get_ident()

    def _ticket(self) -> Ticket | None:
        holder = self._holder.get(_HOLDER)
        return None if holder is None else holder()

    def _expire(self, gone: weakref.ref[Ticket]) -> None:
        """Let one thread, and only while it is still there, clear a dead holder."""
        right = self._rights.setdefault(id(gone), iter((_HOLDER,)))
        if self._holder.get(_HOLDER) is gone:
            list(map(self._holder.pop, right))
        self._rights.pop(id(gone), None)
