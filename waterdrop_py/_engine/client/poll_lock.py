"""Which thread polls a client, and which threads wait to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency.emptying import until_empty
from waterdrop_py._engine.concurrency.locks import OwnedLock

if TYPE_CHECKING:
    from collections.abc import Callable


SLICE: Final = 0.15
"""Seconds per native poll: the longest delay before Ctrl-C takes effect. From 0.2 s up,
confluent-kafka keeps polling after it has served a report."""


class PollLock(OwnedLock):
    """Held by the one thread that polls a client; only ever tried.

    A thread that finds it held adds its wake-up to `waiters` and then looks again. The
    holder releases first and wakes second: one of the two sees the other. Jobs that
    need a client that no thread polls are added and run in the same way.
    """

    __slots__ = ("_jobs", "waiters")

    def __init__(self) -> None:
        super().__init__()
        self.waiters: list[Callable[[], None]] = []
        self._jobs: list[Callable[[], None]] = []

    def add_job(self, job: Callable[[], None]) -> None:
        """Keep `job` for the next `run_jobs`."""
        self._jobs.append(job)

    @property
    def has_jobs(self) -> bool:
        """Whether a job waits for the release."""
        return bool(self._jobs)

    def run_jobs(self) -> None:
        """Run the jobs that waited for the release."""
        if self._jobs:
            for job in until_empty(partial(self._jobs.pop, 0)):
                job()

    def wake_next(self) -> bool:
        """Wake one thread that waits to poll; whether there was one."""
        while self.waiters:
            try:
                wakeup = self.waiters.pop(0)
            except IndexError:
                break  # another thread took it
            wakeup()
            return True
        return False
