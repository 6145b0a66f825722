"""How a task of asyncio waits for what another thread does: `Waiter`, with a bound.

A task waits for a future of its loop. Any thread may wake it, through the `Bridge` of
that loop: wake-ups that come together cost one `call_soon_threadsafe`. In bursts that
is half of the loop's work for each report.

A bound takes no timer of its own. Each loop has one timer while any task waits with a
bound, and none otherwise.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.emptying import until_empty

if TYPE_CHECKING:
    from collections.abc import Iterable

    Woken = asyncio.Future[bool]

TICK: Final = 0.5
"""The longest time in seconds that a loop's timer runs. So a timer stays no longer than
this after the last task has stopped waiting."""
AT_ONCE: Final = 32
"""Tasks that hear in one turn of the loop that their deadline is over."""
_SLOTS: Final = 128
"""Slots per second. Deadlines in one slot are over at the same moment, at its end."""


class Bridge:
    """Wakes the tasks of one loop. Thread-safe; it keeps the loop from nothing."""

    __slots__ = ("_armed", "_due", "_loop", "_scheduled", "_timer", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._woken: deque[Woken] = deque()
        self._scheduled = False
        self._due: dict[int, set[Woken]] = {}
        self._timer: asyncio.Handle | None = None
        self._armed = 0  # the slot in which the timer ends

    def runs(self) -> bool:
        """Whether the loop runs now. From any thread."""
        loop = self._loop()
        return loop is not None and loop.is_running()

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it is the bridge of `loop`."""
        return self._loop() is loop

    def wake(self, future: Woken) -> None:
        """Have the task that waits for `future` go on. From any thread; again does no
        harm, and neither does a loop that was closed.

        This adds the future and then looks whether the loop was told; the loop forgets
        that and then takes the futures. One of the two sees the other.
        """
        self._woken.append(future)
        if self._scheduled:
            return
        loop = self._loop()
        try:
            self._scheduled = True
            if loop is not None:
                loop.call_soon_threadsafe(self._deliver)
                return
        except RuntimeError:
            pass  # it is closed
        except BaseException:
            self._scheduled = False  # a signal handler's: the wake-up is repeated
            raise
        # No task of it will ever run.
        self._scheduled = False
        self._woken.clear()
        self._due.clear()

    def wake_all(self, futures: list[Woken]) -> None:
        """`wake`, for many."""
        self._woken.extend(futures[1:])
        self.wake(futures[0])

    def _deliver(self) -> None:
        """Set the futures. On the loop."""
        self._scheduled = False
        for future in until_empty(self._woken.popleft):
            if not future.done():
                future.set_result(True)

    # -- deadlines; on the loop --------------------------------------------

    def expire(self, future: Woken, deadline: float) -> int:
        """Give `future` False as `deadline` is over, in seconds on the system's clock.

        Returns what `keep` takes.
        """
        slot = ceil(deadline * _SLOTS)
        self._due.setdefault(slot, set()).add(future)
        if self._timer is None or slot < self._armed:
            self._arm(slot)
        return slot

    def keep(self, future: Woken, slot: int) -> None:
        """Forget the deadline of `future`."""
        found = self._due.get(slot)
        if found is not None:
            found.discard(future)
            if not found:
                self._due.pop(slot, None)

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = clock.system_now()
        wait = min(TICK, max(0.0, slot / _SLOTS - now))
        self._armed = slot if wait < TICK else ceil((now + wait) * _SLOTS)
        self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        """Tell those whose deadline is over; a few at a time, as each then has work."""
        self._timer = None
        now = clock.system_now() * _SLOTS
        over = [
            (slot, future)
            for slot in sorted(slot for slot in self._due if slot <= now)
            for future in self._due[slot]
        ]
        for slot, future in over[:AT_ONCE]:
            self.keep(future, slot)
            if not future.done():
                future.set_result(False)
        if len(over) > AT_ONCE:
            self._timer = asyncio.get_running_loop().call_soon(self._tick)
        elif self._due:
            self._arm(min(self._due))


class _Here(threading.local):
    """The bridge of the loop that runs, or last ran, on the calling thread."""

    bridge: Bridge | None = None


_HERE: Final = _Here()
_BRIDGES: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Bridge]] = (
    weakref.WeakKeyDictionary()
)
"""The bridge of each loop, for other threads."""


def bridge_of(loop: asyncio.AbstractEventLoop) -> Bridge:
    """The bridge of `loop`, which runs on the calling thread."""
    bridge = _HERE.bridge
    if bridge is None or not bridge.belongs_to(loop):
        bridge = _HERE.bridge = _BRIDGES.setdefault(loop, Bridge(loop))
    return bridge


def wake_all(futures: Iterable[Woken]) -> None:
    """Wake the tasks that wait for `futures`, of any loops. From any thread."""
    of_one: list[Woken] = []
    loop: asyncio.AbstractEventLoop | None = None
    for future in futures:
        theirs = future.get_loop()
        if theirs is not loop and of_one:
            _wake_of_one(loop, of_one)
            of_one = []
        loop = theirs
        of_one.append(future)
    if of_one:
        _wake_of_one(loop, of_one)


def _wake_of_one(loop: asyncio.AbstractEventLoop | None, futures: list[Woken]) -> None:
    bridge = None if loop is None else _BRIDGES.get(loop)
    if bridge is not None:
        bridge.wake_all(futures)


class Waiter:
    """One wait of one task. Calling it, from any thread, ends the wait."""

    __slots__ = ("_bridge", "future")

    def __init__(self) -> None:
        """Called in a running loop."""
        loop = asyncio.get_running_loop()
        self._bridge = bridge_of(loop)
        self.future: Woken = loop.create_future()

    def __call__(self, _: object = None) -> None:
        """Wake the task."""
        self._bridge.wake(self.future)

    def is_lost(self) -> bool:
        """Whether the loop does not run, so that no task would go on."""
        return not self._bridge.runs()

    async def wait(self, deadline: float | None = None) -> bool:
        """Wait until it is called; False once `deadline` is over.

        `deadline`: seconds on the system's clock; None: no bound.
        """
        if deadline is None:
            return await self.future
        slot = self._bridge.expire(self.future, deadline)
        try:
            return await self.future
        finally:
            self._bridge.keep(self.future, slot)
