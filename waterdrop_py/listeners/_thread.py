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


class Job:
    """What is run again and again, and when it is due, in seconds of the system."""

    __slots__ = ("_failure", "due", "interval", "run")

    def __init__(self, interval: float, run: Callable[[], object]) -> None:
        self.interval = interval
        self.run = run
        self.due = 0.0
        self._failure = ""

    def run_if_due(self, now: float) -> None:
        """Run it if it is due at `now`. What it raises is logged, each error once."""
        if now < self.due:
            return
        self.due = now + self.interval
        try:
            self.run()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            if failure != self._failure:
                LOGGER.exception("metrics could not be pushed")
            self._failure = failure
        else:
            self._failure = ""


class MetricsThread:
    """Runs jobs while `is_needed()`, on one thread. Thread-safe, without a lock.

    The thread is started by `ensure`, which is called when `is_needed()` may have
    become true.
    """

    def __init__(self, is_needed: Callable[[], bool]) -> None:
        self._is_needed = is_needed
        self._jobs: dict[Job, None] = {}
        self.reset()

    def reset(self) -> None:
        """Start afresh: this is a forked child."""
        self._running = OwnedLock()
        self._wakeup = Wakeup()
        self._post = OnDemandThread("metrics", self._run)

    def add(self, job: Job) -> None:
        """Run `job` every `job.interval` seconds while the thread runs."""
        self._jobs[job] = None
        self.ensure()

    def remove(self, job: Job) -> None:
        """Do not run `job` any more."""
        self._jobs.pop(job, None)
        self.wake()

    def ensure(self) -> None:
        """Have the thread run if it is needed.

        A client is open first, and then this looks at the mark of the thread. The
        thread clears its mark first, and then looks for an open client.
        """
        if self._running.locked:
            self._wakeup()
        elif self._needed():
            self._post.ensure_started()

    def wake(self) -> None:
        """Have the thread look whether it is still needed."""
        self._wakeup()

    def _needed(self) -> bool:
        return bool(self._jobs) and self._is_needed()

    def _run(self) -> None:
        while self._running.take(hold := Hold()):
            try:
                while self._needed():
                    self._wakeup.wait(self._run_due())
            finally:
                self._running.release(hold)
            if not self._needed():
                return

    def _run_due(self) -> float:
        """Run what is due; the seconds until the next job is."""
        now = clock.system_now()
        jobs = tuple(self._jobs)
        for job in jobs:
            job.run_if_due(now)
        next_due = min((job.due for job in jobs), default=now)
        return max(0.0, next_due - clock.system_now())
