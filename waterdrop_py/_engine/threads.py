"""The library's threads: daemons, named, started when needed, gone when not."""

from __future__ import annotations

import _thread
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def start(name: str, run: Callable[[], None]) -> bool:
    """Start a daemon thread, without a wait for it to run; False when the interpreter
    starts none any more. Safe in signal handlers.

    `threading.Thread.start` waits until the new thread runs. Before the first message
    after idleness that costs as much as opening the client (2 of 5.5 ms on a busy
    machine), so a thread without a name does that wait.
    """
    try:
        _thread.start_new_thread(_introduce, (name, run))
    except RuntimeError:
        return False  # no resources, or at interpreter exit, from 3.12 on
    return True


def _introduce(name: str, run: Callable[[], None]) -> None:
    try:
        Thread(target=run, name=f"waterdrop-{name}", daemon=True).start()
    except RuntimeError:
        run()  # then in this one, as nameless as it is


class Post:
    """A place for one thread, which ends when it has nothing to do.

    Its work is in an inbox. Whoever puts something there calls `fill` unless the
    thread is seen at work; while one is on its way no other is started. A thread that
    arrives says so before it looks at the inbox for the first time, and `fill` comes
    after the put: what found it on its way is in the inbox when it looks
    (test_work_that_comes_before_its_thread). No lock.
    """

    __slots__ = ("_coming", "_name", "_run")

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self._name = name
        self._run = run
        self._coming: list[None] = []

    def fill(self) -> bool:
        """Start the thread, unless one is on its way; False when none starts."""
        if self._coming:
            return True
        started = False
        try:
            self._coming.append(None)
            started = start(self._name, self._arrive)
        except BaseException:
            # A signal handler's, and other work may have found this one on its way. One
            # thread too many ends at once (test_a_start_that_is_torn).
            started = start(self._name, self._arrive)
            raise
        finally:
            if not started:
                self._coming.clear()
        return started

    def _arrive(self) -> None:
        self._coming.clear()
        self._run()
