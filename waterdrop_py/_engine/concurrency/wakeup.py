"""Waiting with a bound: a bell, and an inbox that has one.

Not by `SimpleQueue.get(timeout=)`: up to Python 3.12 that waits without any bound when
its time is over by the moment it works out what is left of it. A signal handler that
takes longer does it, and so does a preemption between two of its own statements: a
pause of 1 ms in a fork on a busy machine never ended (3.7 to 3.12 hang behind a slow
handler, 3.13 does not; test_a_signal_handler_that_takes_longer_than_the_wait). The
`acquire` of a lock looks whether time is left.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty
from threading import TIMEOUT_MAX, Lock  # noqa: TID251 - never held: the ring is its release
from typing import TYPE_CHECKING, Generic, TypeVar

from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from collections.abc import Callable

_Item = TypeVar("_Item")


class Wakeup:
    """Wakes one waiting thread. A ring that nobody waits for is kept, one at most.

    Callable from anywhere, also from signal handlers and finalizers.
    """

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung = Lock()
        self._rung.acquire()

    def __call__(self, _: object = None) -> None:
        """Ring it."""
        if self._rung.locked():
            with suppress(RuntimeError):  # somebody else has rung it just now
                self._rung.release()

    def ringer(self) -> Callable[[], None]:
        """Rings it by one call of C; raises `RuntimeError` where it is rung already."""
        return self._rung.release

    def wait(self, timeout: float | None) -> bool:
        """Wait for a ring, `timeout` seconds at most; whether there was one."""
        if timeout is None:
            return self._rung.acquire()
        return self._rung.acquire(timeout=min(max(timeout, 0.0), TIMEOUT_MAX))


class Inbox(Generic[_Item]):
    """A queue between threads. Thread-safe and re-entrant, without a lock.

    `put` appends first and rings second, `get` looks again after a ring. Two puts may
    ring once; so a reader that leaves something behind rings for the next one
    (test_two_items_wake_two_readers).
    """

    __slots__ = ("_bell", "_items", "_ring")

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._bell = Wakeup()
        self._ring = self._bell.ringer()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: _Item) -> None:
        """Add an item; callable from anywhere.

        A signal handler may raise after each call. So the ring is a call of C itself,
        and follows the item in any case: one that nobody is rung for would lie there
        until the reader's time is over (test_a_torn_put_wakes_the_reader).
        """
        try:
            self._items.append(item)
        finally:
            try:  # noqa: SIM105 - `suppress` is of Python, and may be interrupted
                self._ring()
            except RuntimeError:  # it is rung already
                pass

    def get(self, timeout: float | None) -> _Item:
        """The first item, waited for `timeout` seconds at most.

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
                self._bell.wait(left)
                continue
            if self._items:
                self._bell()
            return item


def sleep(duration: float) -> None:
    """Wait `duration` seconds, interruptible by Ctrl-C."""
    Wakeup().wait(duration)
