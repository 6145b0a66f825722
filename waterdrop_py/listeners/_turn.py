"""`Turn`: one thread at a time reads or pushes the figures of a listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import AwaitedLock, Hold

PATIENCE: Final = 1.0
"""Seconds that a thread waits for its turn. One turn takes milliseconds, unless what is
pushed to blocks."""
_RECHECK: Final = 0.05
"""Seconds of one wait: an exception may keep the holder from waking this thread."""


class Turn:
    """Runs jobs one after another. Thread-safe, also on top of any frame.

    A job that is asked for while its own thread runs one, further down the stack, is
    run by that one once more.
    """

    __slots__ = ("_asked", "_forking", "_lock")

    def __init__(self) -> None:
        self._lock = AwaitedLock()
        self._asked: list[None] = []
        self._forking: Hold | None = None

    def run(self, job: Callable[[], object], patience: float = PATIENCE) -> bool:
        """Run `job`; False if that could not be awaited.

        Blocks for at most `patience` seconds while other threads have their turn.
        """
        # It asks first and then tries the lock; the holder releases the lock and then
        # looks whether it was asked. At least one of the two sees the other.
        self._asked.append(None)
        ran = False
        while self._asked:
            hold = Hold()
            try:
                if not self._take(hold, patience):
                    break
                self._asked.clear()
                job()
                ran = True
            finally:
                if self._lock.release(hold):
                    self._lock.wake()
        return ran

    def _take(self, hold: Hold, patience: float) -> bool:
        deadline = clock.system_now() + patience
        while not self._may_take(hold):
            left = deadline - clock.system_now()
            if left <= 0 or self._lock.held_here:
                return False
            self._lock.wait_released(min(left, _RECHECK))
        return True

    def _may_take(self, hold: Hold) -> bool:
        """Take the lock; but a fork that waits for it comes first, else a thread that
        pushes all the time would keep it out (test_a_fork_comes_first)."""
        if not self._is_first(hold) or not self._lock.take(hold):
            return False
        if self._is_first(hold):
            return True
        if self._lock.release(hold):
            self._lock.wake()
        return False

    def _is_first(self, hold: Hold) -> bool:
        return self._forking is None or self._forking is hold

    def begin_fork(self, patience: float) -> None:
        """Let no job run until `end_fork`: a child would inherit the locks it holds.

        Blocks for at most `patience` seconds, while a job runs.
        """
        hold = Hold()
        self._forking = hold
        self._take(hold, patience)

    def end_fork(self, job: Callable[[], object]) -> None:
        """In the parent: go on, with `job` if that was asked for meanwhile."""
        hold, self._forking = self._forking, None
        if hold is not None and self._lock.release(hold):
            self._lock.wake()
        if self._asked:
            self.run(job)
