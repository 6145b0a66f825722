"""Where subscribers and callbacks run: on a library thread, or in a greenlet.

Under gevent, sockets and queues belong to the thread whose hub they were made in. A
thread of the library cannot use them ("Cannot switch to a different thread"). So users'
code runs in greenlets there, of the hub in which the library was first used; the main
thread's hub replaces any other.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import background, cooperative, native, threads
from waterdrop_py._engine.concurrency.emptying import until_empty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py._engine.concurrency.background import Job


class Home:
    """The hub that runs users' code. No lock: each step is one atomic operation.

    Attributes:
        hub: None until a thread with a hub has used the library.
        on_main: it is the main thread's.
        blocked: one entry for each signal handler that waits inside of a hub, which
            runs no greenlet meanwhile.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh: this is a forked child."""
        self.hub: Any = None
        self.on_main = False
        self.blocked: list[None] = []
        self._jobs: deque[Job] = deque()

    def note(self) -> None:
        """The calling thread uses the library: its hub may run users' code."""
        hub = cooperative.hub_of_thread()
        if hub is None or hub is self.hub:
            return
        on_main = native.on_main_thread()
        if on_main or not self._alive():
            self.hub, self.on_main = hub, on_main

    def spawn(self, job: Job) -> bool:
        """Run `job` in a greenlet; False where there is no hub for it."""
        hub = self.hub
        if hub is None or not self._alive():
            return False
        self._jobs.append(job)
        try:
            hub.loop.run_callback_threadsafe(self._start_one)
        except (AttributeError, ValueError):  # it was destroyed meanwhile
            self.hand_over()
        if self.blocked:
            self.hand_over()
        return True

    @contextmanager
    def in_blocked_hub(self) -> Iterator[None]:
        """Surround a wait inside of a hub: library threads run users' code meanwhile.

        This adds to `blocked` and then hands over; `spawn` adds a job and then reads
        `blocked`. One of the two sees the other.
        """
        self.blocked.append(None)
        try:
            self.hand_over()
            yield
        finally:
            self.blocked.pop()

    def hand_over(self) -> None:
        """Have library threads run what waits for the hub."""
        for job in until_empty(self._jobs.popleft):
            background.submit(job)

    def _start_one(self) -> None:
        try:
            job = self._jobs.popleft()
        except IndexError:
            return  # a library thread took it
        sys.modules["gevent"].spawn(_run_marked, job)

    def _alive(self) -> bool:
        """Whether the hub can run: its thread has not ended."""
        hub = self.hub
        if hub is None or not hub.loop:
            return False
        return self.on_main or hub.thread_ident in sys._current_frames()  # noqa: SLF001


def _run_marked(job: Job) -> None:
    native.run_marked(native.USERS_CODE, native.caller_id(), job)


HOME: Final = Home()
cooperative.surround_blocked(HOME.in_blocked_hub)


def note_caller() -> None:
    """Call this on a thread of the user's before anything can happen in the library."""
    HOME.note()


def run(job: Job) -> None:
    """Run `job`, which calls functions of the user's, where these may wait.

    Does not wait. `job` must not raise. It runs on a library thread; under gevent in a
    greenlet; and here where no thread can start. Jobs may run at the same time, so the
    caller keeps the order of what belongs together.
    """
    if not (threads.can_start() and HOME.spawn(job)):
        background.submit(job)
