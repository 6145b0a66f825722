"""The thread `waterdrop-metrics`, which has listeners push their figures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.concurrency.threads import OnDemandThread
from waterdrop_py._engine.concurrency.wakeup import Wakeup

LOGGER: Final = logging.getLogger("waterdrop_py")
SHARE: Final = 0.1
"""The share of the time that pushes at events may take, on the threads of these."""
CREDIT: Final = 0.2
"""Seconds of such pushes in a row. One takes a millisecond with a few producers. With a
thousand it takes 20 ms, and when these are closed together, each has two events."""
DELAY: Final = 0.05
"""Seconds after which the thread pushes for events that had no credit."""


class Job:
    """What is run again and again.

    Attributes:
        due: when it is run next, in seconds of the system.
        pending: an event has asked for it, and it has not begun since.
    """

    __slots__ = ("_at", "_credit", "_failure", "_run", "due", "interval", "pending")

    def __init__(self, interval: float, run: Callable[[], object]) -> None:
        self.interval = interval
        self.due = 0.0
        self.pending = False
        self._run = run
        self._failure = ""
        self._credit = CREDIT
        self._at = 0.0

    def run(self, now: float) -> None:
        """Run it, at `now`."""
        began = clock.system_now()
        self.pending = False
        self.due = now + self.interval
        try:
            self._run()
        finally:
            self._credit -= clock.system_now() - began

    def has_credit(self, now: float) -> bool:
        """Whether an event may run it at `now`, and wait for that."""
        self._credit = min(CREDIT, self._credit + SHARE * (now - self._at))
        self._at = now
        return self._credit > 0

    def run_if_due(self, now: float) -> None:
        """Run it if it is due at `now`. What it raises is logged, each error once."""
        if now < self.due:
            return
        try:
            self.run(now)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            if failure != self._failure:
                LOGGER.exception("metrics could not be pushed")
            self._failure = failure
        else:
            self._failure = ""


class MetricsThread:
    """Runs jobs while `is_needed()`, on one thread. Thread-safe, without a lock."""

    def __init__(self, is_needed: Callable[[], bool]) -> None:
        self._is_needed = is_needed
        self._jobs: dict[Job, None] = {}
        self.reset()

    def reset(self) -> None:
        """Start afresh: this is a forked child."""
        self._running = OwnedLock()
        self._wakeup = Wakeup()
        self._post = OnDemandThread("metrics", self._work)

    def add(self, job: Job) -> None:
        """Run `job` every `job.interval` seconds while the thread runs."""
        self._jobs[job] = None
        self.ensure()

    def remove(self, job: Job) -> None:
        """Do not run `job` any more."""
        self._jobs.pop(job, None)
        self._wakeup()

    def ensure(self) -> None:
        """Have the thread run if it is needed, which may have become true.

        A client is open first, and then this looks at the mark of the thread. The
        thread clears its mark first, and then looks for an open client.
        """
        if not self._running.locked and self._needed():
            self._post.ensure_started()

    def run_soon(self, job: Job) -> None:
        """Run `job` for an event: at once, on this thread, as long as it has credit.

        Else the thread runs it within DELAY, once for all such events; where no thread
        can start, the end of the process does.
        """
        now = clock.system_now()
        if job not in self._jobs:
            return
        if job.has_credit(now):
            job.run(now)
        else:
            job.pending = True
            job.due = min(job.due, now + DELAY)
            if not self._running.locked:
                self._post.ensure_started()
        self._wakeup()

    def run_pending(self) -> None:
        """The process ends: run what events have asked for."""
        for job in list(self._jobs):
            if job.pending:
                job.due = 0.0
                job.run_if_due(clock.system_now())

    @property
    def is_running(self) -> bool:
        """Whether the thread is at work."""
        return self._running.locked

    def _needed(self) -> bool:
        jobs = list(self._jobs)
        return any(job.pending for job in jobs) or (bool(jobs) and self._is_needed())

    def _work(self) -> None:
        while self._running.take(hold := Hold()):
            try:
                while self._needed():
                    wait = self._run_due()
                    if self._needed():  # else it would sleep when it is not
                        self._wakeup.wait(wait)
            finally:
                self._running.release(hold)
            if not self._needed():
                return

    def _run_due(self) -> float:
        """Run what is due; the seconds until the next job is."""
        now = clock.system_now()
        jobs = list(self._jobs)
        for job in jobs:
            job.run_if_due(now)
        next_due = min((job.due for job in jobs), default=now)
        return max(0.0, next_due - clock.system_now())
