"""The threads that close clients, and run whatever may take long."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock, threads
from waterdrop_py._engine.concurrency.wakeup import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable

USUAL: Final = 4
"""1000 clients due together are closed in 690 ms by one thread, in 490 ms by four,
in 440 ms by sixteen."""
STUCK: Final = 0.05
"""Seconds after which a job no longer counts as about to end."""
LINGER: Final = 3.0


class Workers:
    """Runs jobs on a few threads; on one more for each that is held up.

    A close that hangs, or a subscriber that sleeps, holds up its own thread and
    nobody else's job. No lock: an inbox, and lists used with atomic operations.
    """

    def __init__(self, elsewhere: Callable[[Callable[[], None]], None]) -> None:
        self._elsewhere = elsewhere
        self._jobs: Inbox[Callable[[], None]] = Inbox()
        self._threads: list[object] = []
        self._busy: list[tuple[object, float]] = []

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` soon, on another thread. `job` must not raise."""
        self._jobs.put(job)
        self.relieve()

    def rest(self) -> None:
        """Have the threads end now, and not after the linger."""
        for _ in tuple(self._threads):
            self._jobs.put(_leave)

    def held_up(self, longer: float) -> bool:
        """Whether a thread has been at one job for longer than that, in seconds."""
        now = clock.system_now()
        return any(now - since > longer for _, since in tuple(self._busy))

    def waiting(self) -> bool:
        """Whether a job has not been started; then call `relieve` again soon."""
        return bool(self._jobs)

    def relieve(self) -> None:
        """Start a thread if jobs wait and those there are held up, or too few."""
        if not self._jobs:
            return
        now = clock.system_now()
        held_up = sum(now - since > STUCK for _, since in tuple(self._busy))
        wanted = min(USUAL, len(self._jobs) + len(self._busy) - held_up)
        if len(self._threads) - held_up < wanted:
            me = object()
            started = False
            try:
                self._threads.append(me)
                started = threads.start("closer", lambda: self._run(me))
            finally:
                # A signal handler may have raised, before the thread began or after: a
                # place that nobody fills would leave the jobs waiting for good, one
                # thread more does no harm (test_a_torn_start_takes_no_place).
                if not started:
                    self._gone(me)
            # A thread that waits for this very job, or for one behind it, is no help
            # (test_a_thread_that_is_held_up_runs_nothing).
            if not started and len(self._threads) <= held_up:
                self._hand_over()

    def _gone(self, me: object) -> None:
        with suppress(ValueError):
            self._threads.remove(me)

    def _hand_over(self) -> None:
        """No thread starts any more: at interpreter exit, from Python 3.12 on.

        All that waits goes elsewhere: one that was left to a thread that was not held
        up yet would be one behind for good (test_all_that_waits_is_handed_over).
        """
        with suppress(Empty):
            while True:
                self._elsewhere(self._jobs.get(0))

    def _run(self, me: object) -> None:
        try:
            while self._work(me):
                pass
        finally:
            self._gone(me)
            # Out first, looked at the inbox second; `submit` puts first and counts
            # second: one of the two sees the other.
            self.relieve()

    def _work(self, me: object) -> bool:
        """Run the next job; False when none came for a while."""
        try:
            job = self._jobs.get(LINGER)
        except Empty:
            return False
        if job is _leave:
            return False
        entry = (me, clock.system_now())
        self._busy.append(entry)
        try:
            job()
        finally:
            self._busy.remove(entry)
        return True


def _leave() -> None:
    """What a thread that rests finds in place of a job."""
