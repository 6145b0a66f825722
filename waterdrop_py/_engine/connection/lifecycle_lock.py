"""The lifecycle lock: one thread at a time opens, disconnects or closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Claim, Ticket
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py.errors import DeliveryTimeoutError, ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable

_RECHECK: Final = 0.5
"""Seconds between two looks at a lock that another thread holds."""


class LifecycleLock:
    """A `Claim` that can be waited for. Re-entrant calls are told, never blocked.

    `Connection.release` gives it back: first the claim, then the wake-ups, then what
    was deferred.
    """

    __slots__ = ("_claim", "_deferred", "_wakeups")

    def __init__(self) -> None:
        self._claim = Claim()
        self._wakeups: list[Wakeup] = []
        self._deferred: list[Callable[[], None]] = []

    @property
    def mine(self) -> bool:
        """Whether this thread is inside a step of the connection, further down."""
        return self._claim.mine and not self._claim.heal()

    def take(self, ticket: Ticket) -> bool:
        """Take it if no thread has it."""
        return self._claim.take(ticket)

    def take_or_heal(self, ticket: Ticket) -> bool:
        """The same, also where its holder was interrupted as it gave it back."""
        return self._claim.take(ticket) or (
            self._claim.heal() and self._claim.take(ticket)
        )

    def held_by(self, ticket: Ticket) -> bool:
        """Whether this very ticket holds it."""
        return self._claim.held_by(ticket)

    def release(self, ticket: Ticket) -> bool:
        """Give it back and wake who waits; False when this ticket does not hold it."""
        if not self._claim.release(ticket):
            return False
        self.wake()
        return True

    def wake(self) -> None:
        """Wake the threads that wait: each looks again."""
        for wakeup in tuple(self._wakeups):
            wakeup()

    def defer(self, job: Callable[[], None]) -> None:
        """Add a job for `run_deferred`."""
        self._deferred.append(job)

    def run_deferred(self) -> None:
        """Run the jobs that were left to the end of the step."""
        while self._deferred:
            try:
                job = self._deferred.pop(0)
            except IndexError:
                return
            job()

    def wait(
        self, deadline: float | None, checklist: Callable[[], tuple[str, ...]]
    ) -> None:
        """Wait until another thread ends its step, or a while; the caller looks again.

        The wake-up is added before the look at the claim, and `release` gives the
        claim back before it wakes: one of the two sees the other.

        Raises:
            ReentrantCallError: this very thread holds it, further down.
            DeliveryTimeoutError: `deadline` is over; with the `checklist`.
        """
        if self.mine:
            raise ReentrantCallError(
                "the producer's client is being opened or closed by the call that "
                "this one interrupted, which would have to end first"
            )
        wait = _RECHECK
        if deadline is not None:
            wait = min(wait, deadline - clock.system_now())
            if wait <= 0:
                raise DeliveryTimeoutError(
                    "another thread is still opening the client; nothing was sent",
                    checklist=checklist(),
                )
        wakeup = Wakeup()
        try:
            self._wakeups.append(wakeup)
            if self._claim.taken and not wakeup.wait(wait):
                self._claim.heal()
        finally:
            self._wakeups.remove(wakeup)
