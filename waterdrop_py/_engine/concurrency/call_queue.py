"""`CallQueue`: many calls, a few at a time."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import background
from waterdrop_py._engine.concurrency.emptying import until_empty
from waterdrop_py._engine.concurrency.future import Future

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW: Final = 32
"""Calls at a time that wait for a cluster."""


class CallQueue:
    """Makes calls in order, a few at a time. Thread-safe, without a lock."""

    __slots__ = ("_calls", "_most", "_runners", "_seen")

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen = -1  # how many calls waited at the last look
        self._calls: deque[Callable[[], None]] = deque()
        self._runners: list[Future[Any]] = []

    def submit(self, call: Callable[[], None]) -> None:
        """Have `call` made soon, in order. It must not raise. Does not wait."""
        self._calls.append(call)
        self._start()

    @property
    def has_waiting(self) -> bool:
        """Whether a call has not begun."""
        return bool(self._calls)

    def look_again(self) -> None:
        """Have what waits made, where the thread that was to do it did not start."""
        for runner in list(self._runners):
            if not runner.begun:
                background.submit(runner)
                return
        if self._calls:
            self._start()

    def widen_if_stuck(self) -> None:
        """Make twice as many at a time, if no call has begun since the last look."""
        self.look_again()
        waiting = len(self._calls)
        if waiting and waiting == self._seen:
            self._most *= 2
            for _ in range(min(waiting, self._most)):
                self._start()
        self._seen = waiting

    def _start(self) -> None:
        if len(self._runners) < self._most:
            runner: Future[None] = Future(lambda: self._run(runner))
            self._runners.append(runner)
            background.submit(runner)

    def _run(self, runner: Future[None]) -> None:
        try:
            for call in until_empty(self._calls.popleft):
                call()
        finally:
            with suppress(ValueError):
                self._runners.remove(runner)
            # `submit` adds a call and then counts the runners; this leaves them and
            # then looks for calls. One of the two sees the other.
            if self._calls:
                self._start()
