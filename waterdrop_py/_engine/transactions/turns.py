"""Whose transaction is next among tasks of asyncio, which take no thread to wait."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.concurrency.locks import AwaitedLock

_DECIDED: Final = 0


class Fate(Enum):
    """What becomes of a turn."""

    GRANTED = auto()
    WITHDRAWN = auto()


class Turn:
    """One task that waits for the lock of the transactions."""

    __slots__ = ("_fate", "hold", "is_lost", "on_turn")

    def __init__(
        self,
        hold: Hold,
        on_turn: Callable[[], object],
        is_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        """`on_turn` is called on any thread, once the lock is taken for `hold`. Not
        while `is_lost()`: its loop does not run, and the others would wait for it."""
        self.hold = hold
        self.on_turn = on_turn
        self.is_lost = is_lost
        self._fate: dict[int, Fate] = {}

    @property
    def granted(self) -> bool:
        """Whether the lock is taken for `hold`."""
        return self._fate.get(_DECIDED) is Fate.GRANTED

    def decide(self, fate: Fate) -> Fate:
        """Decide what becomes of it; the first caller does. What became of it."""
        return self._fate.setdefault(_DECIDED, fate)


class Turns:
    """The tasks that wait for one lock, first come, first served. Thread-safe.

    A task is added and then the lock is tried; the lock is released and then tried for
    the first task. One of the two sees the other.
    """

    __slots__ = ("_granting", "_lock", "_waiting")

    def __init__(self, lock: AwaitedLock) -> None:
        self._lock = lock
        self._waiting: deque[Turn] = deque()
        self._granting = OwnedLock()
        lock.call_when_released(self.advance)

    def join(self, turn: Turn) -> None:
        """Wait for the lock, or take it now."""
        self._waiting.append(turn)
        self.advance()

    def leave(self, turn: Turn) -> bool:
        """Wait no more. False: the lock is taken for it, and has to be released."""
        if turn.decide(Fate.WITHDRAWN) is Fate.GRANTED:
            return False
        with suppress(ValueError):  # it is just being taken out
            self._waiting.remove(turn)
        return True

    def advance(self) -> None:
        """Take the lock for the first task, if it is free.

        1. A thread finds the lock taken. It is released, and that thread calls this.
        2. It returns, because the first one is granting.
        3. So that one looks at the lock once more when it has ended
           (test_a_turn_that_comes_as_the_lock_is_released).
        """
        while not self._lock.locked and self._first() is not None:
            hold = Hold()
            try:
                if not self._granting.take(hold):
                    return
                self._grant()
            finally:
                self._granting.release(hold)

    def _first(self) -> Turn | None:
        """The first one whose task would go on."""
        waiting = (turn for turn in list(self._waiting) if not turn.is_lost())
        return next(waiting, None)

    def _grant(self) -> None:
        while (turn := self._first()) is not None:
            if not self._lock.take(turn.hold):
                return
            with suppress(ValueError):  # it has left
                self._waiting.remove(turn)
            if turn.decide(Fate.GRANTED) is Fate.GRANTED:
                turn.on_turn()
                return
            self._lock.release(turn.hold)
