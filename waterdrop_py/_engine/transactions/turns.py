"""Whose transaction is next among tasks of asyncio, which take no thread to wait."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.concurrency.locks import AwaitedLock, Hold

_OWNER: Final = 0


class Turn:
    """One task that waits for the lock of the transactions.

    Attributes:
        granted: the lock is taken for `hold`.
    """

    __slots__ = ("_claims", "granted", "hold", "on_turn")

    def __init__(self, hold: Hold, on_turn: Callable[[], object]) -> None:
        """`on_turn` is called on any thread."""
        self.hold = hold
        self.on_turn = on_turn
        self.granted = False
        self._claims: dict[int, object] = {}

    def claim(self) -> bool:
        """Decide what becomes of it: granted, or withdrawn. The first caller does."""
        me = object()
        return self._claims.setdefault(_OWNER, me) is me


class Turns:
    """The tasks that wait for one lock, first come, first served. Thread-safe.

    A task is added and then the lock is tried; the lock is released and then tried for
    the first task. One of the two sees the other
    (test_a_turn_that_comes_as_the_lock_is_released).
    """

    __slots__ = ("_lock", "_waiting")

    def __init__(self, lock: AwaitedLock) -> None:
        self._lock = lock
        self._waiting: deque[Turn] = deque()
        lock.call_when_released(self.advance)

    def join(self, turn: Turn) -> None:
        """Wait for the lock, or take it now."""
        self._waiting.append(turn)
        self.advance()

    def leave(self, turn: Turn) -> bool:
        """Wait no more. False: the lock is taken for it, and has to be released."""
        if not turn.claim():
            return False
        with suppress(ValueError):
            self._waiting.remove(turn)
        return True

    def advance(self) -> None:
        """Take the lock for the first task, if it is free."""
        while self._waiting:
            try:
                turn = self._waiting[0]
            except IndexError:
                return
            if not self._lock.take(turn.hold):
                return
            granted = turn.claim()
            with suppress(ValueError):
                self._waiting.remove(turn)
            if granted:
                turn.granted = True
                turn.on_turn()
                return
            if not turn.granted:  # withdrawn
                self._lock.release(turn.hold)
