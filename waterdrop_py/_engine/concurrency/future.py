"""`Future`: a call that another thread makes, once, and its result."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from waterdrop_py._engine.concurrency.emptying import until_empty
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.concurrency.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Future(Generic[T]):
    """A call that is made once, by the first thread that calls this object.

    Thread-safe and re-entrant, without a lock: `_unclaimed.pop` decides which thread
    makes the call. So it may be submitted twice, and a thread that waits for it may
    make the call itself. `concurrent.futures` takes locks, and long to import.
    """

    __slots__ = ("_outcome", "_unclaimed", "_watchers")

    def __init__(self, call: Callable[[], T]) -> None:
        self._unclaimed = [call]
        self._outcome: tuple[T, None] | tuple[None, BaseException] | None = None
        self._watchers: list[Callable[[], object]] = []

    def __call__(self) -> None:
        """Make the call, here and now, unless another thread does or did.

        What a signal handler raises in it comes out, and the next thread makes the call
        again. Signal handlers run on the main thread only, which makes a call where no
        other thread can.
        """
        try:
            call = self._unclaimed.pop()
        except IndexError:
            return
        try:
            self.resolve(call())
        except BaseException as error:
            if from_signal_handler(error):
                self._unclaimed.append(call)
                raise
            self._end((None, error))

    def cancel(self) -> None:
        """Let no thread make the call, unless one has begun."""
        self._unclaimed.clear()

    def resolve(self, result: T) -> None:
        """Tell the result before the call returns. The first one counts."""
        self._end((result, None))

    def _end(self, outcome: tuple[T, None] | tuple[None, BaseException]) -> None:
        if self._outcome is None:
            self._outcome = outcome
        self._tell()

    def _tell(self) -> None:
        for watcher in until_empty(partial(self._watchers.pop, 0)):
            watcher()

    @property
    def begun(self) -> bool:
        """Whether a thread makes the call, or has made it."""
        return not self._unclaimed

    @property
    def done(self) -> bool:
        """Whether the result is known."""
        return self._outcome is not None

    def on_done(self, watcher: Callable[[], object]) -> None:
        """Call `watcher` once the result is known, now if it is. It must not raise.

        This adds it and then looks at the result; `_end` sets the result and then looks
        for watchers. One of the two sees the other, and `pop` decides.
        """
        self._watchers.append(watcher)
        if self.done:
            self._tell()

    def wait(self, timeout: float | None) -> bool:
        """Wait at most `timeout` seconds (None: no bound); whether it is known."""
        if not self.done:
            wakeup = Wakeup()
            self.on_done(wakeup)
            try:
                wakeup.wait(timeout)
            finally:
                with suppress(ValueError):  # it was told
                    self._watchers.remove(wakeup)
        return self.done

    def result(self) -> T:
        """What the call returned; raises what it raised. Only once it is `done`."""
        assert self._outcome is not None
        result, error = self._outcome
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
