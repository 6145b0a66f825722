"""`CallQueue`: makes many calls on library threads, a few at a time."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import background
from waterdrop_py._engine.concurrency.emptying import until_empty
from waterdrop_py._engine.concurrency.future import Future

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK: Final = 4
"""Closes at a time of producers without messages: more threads wait for each other.
A pool of 1000 idle producers took 34 s when 833 threads closed them."""
SLOW: Final = 32
"""Closes at a time of producers that wait for their cluster."""


class CallQueue:
    """Makes calls in order, a few at a time. Thread-safe, without a lock."""

    __slots__ = ("_calls", "_most", "_runners")

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: deque[Callable[[], None]] = deque()
        self._runners: list[Future[Any]] = []

    def submit(self, call: Callable[[], None]) -> None:
        """Have `call` made soon, in order. It must not raise. Does not wait."""
        self._calls.append(call)
        self._start()

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
