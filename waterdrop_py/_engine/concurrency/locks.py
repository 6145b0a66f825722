"""`OwnedLock`: a lock that is only tried, and knows its holder; `AwaitedLock`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency.native import caller_id
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py._engine.concurrency.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

_HOLDER: Final = 0


class Hold:
    """One attempt to take a lock, made beforehand so that a `finally` has it.

    A signal handler may raise between any two steps of `take`. `release(hold)` does
    nothing unless this very hold has the lock. So `try: take(hold) ... finally:
    release(hold)` is right wherever the exception came.
    """

    __slots__ = ("owner",)

    def __init__(self) -> None:
        self.owner = caller_id()


class OwnedLock:
    """A lock with at most one hold. Never blocks; safe in signal handlers.

    Not a `threading` lock: user code runs while it is held, and a signal handler or a
    finalizer of the holding thread must see that it would wait for itself. An `RLock`
    tells that, but greenlets of one thread share its ownership, and no other thread
    may release it. One atomic `dict.setdefault` takes this one and notes the hold.
    """

    __slots__ = ("_holder",)

    def __init__(self) -> None:
        self._holder: dict[int, Hold] = {}

    def take(self, hold: Hold) -> bool:
        """Take it if it is free; whether this hold has it now."""
        return self._holder.setdefault(_HOLDER, hold) is hold

    def held_by(self, hold: Hold) -> bool:
        """Whether this hold has it."""
        return self._holder.get(_HOLDER) is hold

    @no_signal_at_entry
    def release(self, hold: Hold) -> bool:
        """Release it; False when this hold does not have it.

        From a `finally` to the release there is no call and, for Python 3.10, no jump.
        Only there does CPython run signal handlers and switch threads. So no exception
        leaves the lock held, and no other thread takes it in between
        (test_a_raising_handler_leaves_it_free).
        """
        try:
            if self._holder[_HOLDER] is hold:
                del self._holder[_HOLDER]
                return True
        except KeyError:
            pass
        return False

    @property
    def locked(self) -> bool:
        """Whether it is held now."""
        return _HOLDER in self._holder

    @property
    def held_here(self) -> bool:
        """Whether the caller's thread or greenlet holds it, further down its stack."""
        holder = self._holder.get(_HOLDER)
        return holder is not None and holder.owner == caller_id()


class AwaitedLock(OwnedLock):
    """An `OwnedLock` that threads wait for; its holder releases it and then wakes."""

    __slots__ = ("_wakeups",)

    def __init__(self) -> None:
        super().__init__()
        self._wakeups: list[Callable[[], object]] = []

    def call_when_released(self, call: Callable[[], object]) -> None:
        """Call `call` at each `wake`, besides waking threads."""
        self._wakeups.append(call)

    def wake(self) -> None:
        """Wake the threads that wait; each tries again."""
        for wakeup in list(self._wakeups):
            wakeup()

    def wait_released(self, timeout: float) -> None:
        """Wait until `wake`, or `timeout` seconds, unless it is free.

        This adds a wake-up and then looks at the lock; the holder releases it and then
        wakes. One of the two sees the other.
        """
        wakeup = Wakeup()
        try:
            self._wakeups.append(wakeup)
            if self.locked:
                wakeup.wait(timeout)
        finally:
            self._wakeups.remove(wakeup)
