"""The worker threads: they close clients, and run other jobs that may take long."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import clock, native, threads
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.wakeup import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable

USUAL: Final = 4
"""Threads, unless some are held up. They close 1000 due clients in 490 ms; one thread
takes 690 ms, sixteen take 440 ms."""
STUCK: Final = 0.05
"""Seconds after which a job counts as held up."""
LINGER: Final = 3.0
"""Seconds that a thread stays when no job comes."""


class Workers:
    """Runs jobs on a few threads, and on one more for each that is held up.

    A close that hangs, or a subscriber that sleeps, holds up its own thread and no
    other job. No lock: an inbox, and lists used with atomic operations.

    A job that a caller waits for is a `Future`. It may wait for other jobs, such as the
    close of a client. So it counts as held up from its beginning.

    Attributes:
        none_starts: the last attempt to start a thread failed.
    """

    def __init__(self, elsewhere: Callable[[Callable[[], None]], None]) -> None:
        """`elsewhere` runs a job where no thread can start."""
        self._elsewhere = elsewhere
        self._jobs: Inbox[Callable[[], None]] = Inbox()
        self._threads: list[object] = []
        self._busy: list[tuple[object, float]] = []
        self.none_starts = False

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` soon, on another thread. `job` must not raise.

        Where no thread can start, it is run elsewhere, and perhaps before this returns.
        """
        self._jobs.put(job)
        self.start_if_needed()

    def run(self, job: Future[Any]) -> None:
        """Have a thread run `job`; run it here where no thread can.

        Not elsewhere then: the caller, who waits, may be the one that runs what goes
        there (test_a_job_that_is_waited_for_runs_here).
        """
        self._jobs.put(job)
        if not self._ensure_thread():
            job()

    def wait(
        self, job: Future[Any], deadline: float, end: Future[Any] | None = None
    ) -> bool:
        """Run `job`, and wait for its end until `deadline`; whether it has ended.

        It is run also where `deadline` has passed: the caller may have been held up
        (test_a_job_is_run_though_its_deadline_has_passed). Looks again while jobs wait
        for a thread: those that are busy may be held up.

        Args:
            job: what is run, unless it has begun.
            deadline: seconds on the real clock.
            end: what to wait for, if that is not the result of `job`.
        """
        end = end or job
        while not end.done:
            if not job.begun:
                self.run(job)
            left = deadline - clock.system_now()
            if left <= 0:
                break
            end.wait(min(left, STUCK) if self._jobs else left)
        return end.done

    @property
    def left_to_this_thread(self) -> bool:
        """Whether no thread can start, and the caller's is one of the library's.

        What it submits may be left to itself: it is the poller, which takes over such
        jobs, or the poller waits for it (test_a_close_on_the_poller_at_the_exit).
        """
        return self.none_starts and native.thread_id() in native.LIBRARY

    def end_if_idle(self) -> None:
        """End the threads now instead of after LINGER."""
        for _ in list(self._threads):
            self._jobs.put(_end)

    def held_up(self, longer: float, since: float) -> bool:
        """Whether a thread has been at one job for more than `longer` seconds, not
        counting those before `since`: a job that ends may have woken the caller."""
        now = clock.system_now()
        return any(now - max(began, since) > longer for _, began in list(self._busy))

    def waiting(self) -> bool:
        """Whether a job has not begun; then call `start_if_needed` again soon."""
        return bool(self._jobs)

    def start_if_needed(self) -> None:
        """Start a thread if jobs wait, and the threads are held up or too few."""
        if self._jobs and not self._ensure_thread():
            self._hand_over()

    def _ensure_thread(self) -> bool:
        """Start a thread if one is needed; False when no thread will run what waits."""
        held_up = self._held_up()
        wanted = min(USUAL, len(self._jobs) + len(self._busy) - held_up)
        if len(self._threads) - held_up >= wanted:
            return True
        me = object()
        started = False
        try:
            self._threads.append(me)
            started = threads.start("closer", lambda: self._run(me))
        finally:
            # A signal handler may have raised before the thread began, or after. A
            # place without a thread would leave the jobs waiting for good; one
            # thread more does no harm (test_an_interrupted_start_takes_no_place).
            if not started:
                self._forget(me)
        self.none_starts = not started
        # A thread that is blocked on this job, or on one queued behind it, cannot
        # run it (test_a_thread_that_is_held_up_runs_nothing).
        return started or len(self._threads) > held_up

    def _held_up(self) -> int:
        now = clock.system_now()
        return sum(now - since > STUCK for _, since in list(self._busy))

    def _forget(self, me: object) -> None:
        with suppress(ValueError):
            self._threads.remove(me)

    def _hand_over(self) -> None:
        """No thread can start: at interpreter exit, from Python 3.12 on.

        All jobs go elsewhere. One that was left to a thread that is not held up yet
        might wait for good (test_all_that_waits_is_handed_over). The caller that waits
        for a `Future` runs it.
        """
        with suppress(Empty):
            while True:
                job = self._jobs.get(0)
                if not isinstance(job, Future):
                    self._elsewhere(job)

    def _run(self, me: object) -> None:
        try:
            while self._work(me):
                pass
        finally:
            self._forget(me)
            # This leaves the list and then reads the inbox; `submit` fills the inbox
            # and then counts the list. One of the two sees the other.
            self.start_if_needed()

    def _work(self, me: object) -> bool:
        """Run the next job; False when none came for LINGER seconds."""
        try:
            job = self._jobs.get(LINGER)
        except Empty:
            return False
        if job is _end:
            return False
        awaited = isinstance(job, Future)
        entry = (me, -inf if awaited else clock.system_now())
        self._busy.append(entry)
        try:
            if awaited:
                self.start_if_needed()  # for the next one
            job()
        finally:
            self._busy.remove(entry)
        return True


def _end() -> None:
    """Stands for a job, and ends the thread that takes it."""
