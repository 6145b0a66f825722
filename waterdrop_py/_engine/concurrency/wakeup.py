"""How a thread waits with a bound: `Wakeup`, `Inbox` and `sleep`.

`SimpleQueue.get(timeout=)` is not used. Up to Python 3.12 it waits forever when its
time is over before it computes what is left. A slow signal handler causes that, and so
does a preemption: a wait of 1 ms in a fork on a busy machine never ended
(test_a_signal_handler_that_takes_longer_than_the_wait). A lock's `acquire` checks.

Under gevent, a greenlet waits in `cooperative.wait` instead.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Generic, TypeVar

from waterdrop_py._engine.concurrency import clock, cooperative, native

if TYPE_CHECKING:
    from collections.abc import Callable

_Item = TypeVar("_Item")


class Wakeup:
    """Wakes the thread that waits, or the next one that will. Calls do not add up.

    Callable from anywhere, also from signal handlers and finalizers.
    """

    __slots__ = ("_flag", "_sleepers")

    def __init__(self) -> None:
        self._flag = native.allocate_lock()  # a flag: its release wakes
        self._flag.acquire()
        self._sleepers: list[cooperative.Sleeper] = []

    def __call__(self, _: object = None) -> None:
        """Wake it."""
        if self._flag.locked():
            with suppress(RuntimeError):  # another thread has just done so
                self._flag.release()
        if self._sleepers:
            for sleeper in list(self._sleepers):
                sleeper.wake()

    def waker(self) -> Callable[[], None]:
        """What wakes it by one call of C; raises `RuntimeError` if that was done.

        It wakes a thread of the library, and no greenlet.
        """
        return self._flag.release

    def wait(self, timeout: float | None) -> bool:
        """Wait at most `timeout` seconds (None: forever); whether it was woken.

        A greenlet of gevent lets others run meanwhile.
        """
        woken = cooperative.wait(self._flag, self._sleepers, timeout)
        return native.acquire(self._flag, timeout) if woken is None else woken


class Inbox(Generic[_Item]):
    """A queue between threads. Thread-safe and re-entrant, without a lock.

    `put` appends first and wakes second; `get` looks again when it is woken. Two puts
    may wake once, so a reader that leaves an item behind wakes the next reader
    (test_two_items_wake_two_readers).
    """

    __slots__ = ("_items", "_wake", "_wakeup")

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._wakeup = Wakeup()
        self._wake = self._wakeup.waker()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: _Item) -> None:
        """Add an item; callable from anywhere.

        A signal handler may raise after each call. So the reader is woken by one call
        of C in a `finally`; else the item would wait until the reader's time is over
        (test_an_interrupted_put_wakes_the_reader).
        """
        try:
            self._items.append(item)
        finally:
            try:  # noqa: SIM105 - `suppress` is of Python, and may be interrupted
                self._wake()
            except RuntimeError:  # it is woken already
                pass

    def get(self, timeout: float | None) -> _Item:
        """The first item, after at most `timeout` seconds (None: no bound).

        Raises:
            queue.Empty: none came.
        """
        deadline = None if timeout is None else clock.system_now() + timeout
        while True:
            try:
                item = self._items.popleft()
            except IndexError:
                left = None if deadline is None else deadline - clock.system_now()
                if left is not None and left <= 0:
                    raise Empty from None
                self._wakeup.wait(left)
                continue
            if self._items:
                self._wakeup()
            return item


def sleep(duration: float) -> None:
    """Wait `duration` seconds. Ctrl-C ends it."""
    Wakeup().wait(duration)
