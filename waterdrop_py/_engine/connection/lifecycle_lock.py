"""The lifecycle lock: one thread at a time opens, disconnects or closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import AwaitedLock
from waterdrop_py.errors import DeliveryTimeoutError, ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable

_RECHECK: Final = 0.5
"""Seconds of one wait: an exception may keep the holder from waking this thread."""


class LifecycleLock(AwaitedLock):
    """`Connection.release` releases it. A thread never waits for itself: see `wait`."""

    __slots__ = ()

    def wait(
        self, deadline: float | None, checklist: Callable[[], tuple[str, ...]]
    ) -> None:
        """Wait until another thread releases it, or 0.5 s; the caller tries again.

        Raises:
            ReentrantCallError: this very thread holds it, further down its stack.
            DeliveryTimeoutError: `deadline` is over; with the `checklist`.
        """
        if self.held_here:
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
        self.wait_released(wait)
