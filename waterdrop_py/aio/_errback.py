"""`TaskErrback`: what a thread of the library tells is called on the task's loop."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._settings.callables import check_function

if TYPE_CHECKING:
    from collections.abc import Callable

    Errback = Callable[[BaseException, float], object]

_LOOK: Final = 0.25
"""Seconds between two looks of a thread whether the task waits any more."""


class TaskErrback:
    """The `errback` of one `connect` that runs on library threads.

    Attributes:
        is_over: the task does not wait any more, and no further attempt is made.
    """

    def __init__(self, errback: Errback | None) -> None:
        """Called on the loop.

        Raises:
            InvalidArgumentError: `errback` is neither a plain function nor None.
        """
        if errback is not None:
            check_function("errback", errback, "errback(error, interval)")
        self._errback = errback
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self.is_over = False

    def __call__(self, error: BaseException, interval: float) -> None:
        """Have it called, and wait for that; raise what it raises.

        On a library thread. Raises `error` itself where no further attempt is made.
        """
        if self._errback is None:
            if self.is_over:
                raise error
            return
        told = Future(partial(self._context.run, self._errback, error, interval))
        try:
            self._loop.call_soon_threadsafe(told)
        except RuntimeError:  # the loop is closed
            self.is_over = True
        while not (self.is_over or told.wait(_LOOK)):
            self.is_over = self._loop.is_closed()
        if self.is_over:
            told.cancel()
            raise error
        told.result()
