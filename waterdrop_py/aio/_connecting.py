"""`TaskConnect`: `connect` on threads of the library, for a task that waits."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py._engine.introspection import probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.pools._producer import PoolProducer

    Errback = Callable[[BaseException, float], object]

_LOOK: Final = 0.25
"""Seconds between two looks whether the loop was closed."""


class TaskConnect:
    """Connects producers. `errback` is called on the loop of the task."""

    __slots__ = ("_context", "_errback", "_is_over", "_loop", "_pauses", "_retries")

    def __init__(self, errback: Errback | None, **retries: Any) -> None:
        """Called on the loop.

        Raises:
            InvalidArgumentError: an argument is invalid.
        """
        self._retries = retries
        self._errback = errback
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._is_over = False
        self._pauses: list[Wakeup] = []
        probe.Retries(errback=errback, **retries)

    def __call__(self, producer: PoolProducer, timeout: float) -> None:
        """Connect `producer`. Blocks."""
        errback = None if self._errback is None else self._tell
        retries = probe.Retries(errback=errback, **self._retries)
        producer.connect_by(timeout, retries, self._pause)

    def end(self) -> None:
        """The task does not wait any more: no further attempt is made."""
        self._is_over = True
        for each in list(self._pauses):
            each()

    def _tell(self, error: BaseException, interval: float) -> None:
        """Have `errback` called, and raise what it raises."""
        assert self._errback is not None
        told = Future(partial(self._context.run, self._errback, error, interval))
        try:
            self._loop.call_soon_threadsafe(told)
        except RuntimeError:  # it is closed
            self._is_over = True
        while not (self._is_over or told.wait(_LOOK)):
            self._is_over = self._loop.is_closed()
        if told.done:
            told.result()
        told.cancel()

    def _pause(self, duration: float) -> bool:
        """Wait until the next attempt; True if there is none.

        This adds a wake-up and then looks; `end` says so and then wakes. One of the two
        sees the other.
        """
        self._pauses.append(wakeup := Wakeup())
        if not self._is_over:
            wakeup.wait(duration)
        self._pauses.remove(wakeup)
        return self._is_over
