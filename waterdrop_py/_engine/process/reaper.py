"""The reaper thread: finds the clients that have been idle, or open, for too long."""

from __future__ import annotations

import heapq
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Final, Protocol

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.concurrency.threads import OnDemandThread
from waterdrop_py._engine.concurrency.wakeup import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

LINGER: Final = 3.0
"""Seconds that the thread stays when it has nothing to do."""
RELIEF: Final = 0.05
"""Seconds between two checks of the workers while jobs wait for one."""


class Reapable(Protocol):
    """What the reaper asks of a connection."""

    def due_at(self) -> float | None:
        """When it falls due, in seconds on the clock; None when it cannot."""

    def restart_deadline(self) -> None:
        """It was active since it was scheduled, and is not due yet."""


class Schedule:
    """The deadlines of connections. Pure policy: no thread, no clock of its own."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Reapable]] = []
        self._wanted: dict[Hashable, float] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, connection: Reapable) -> None:
        """Take over the deadline as it is now; without one, forget the connection."""
        due = connection.due_at()
        if due is None:
            self._wanted.pop(id(connection), None)
            if not self._wanted:
                self._heap.clear()
            return
        if self._wanted.get(id(connection)) != due:
            self._wanted[id(connection)] = due
            self._sequence += 1
            heapq.heappush(self._heap, (due, self._sequence, connection))

    def next(self) -> float | None:
        """The earliest deadline, in seconds on the clock."""
        while self._heap and not self._valid(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def sweep(self, now: float) -> list[Reapable]:
        """The connections that are due at `now`.

        One that was active meanwhile gets its new deadline instead, so a busy producer
        costs one check per timeout. A due one is forgotten. It is scheduled again after
        its close, or when the reason of a refusal has ended.
        """
        due: list[Reapable] = []
        while (first := self.next()) is not None and first <= now:
            _, _, connection = heapq.heappop(self._heap)
            del self._wanted[id(connection)]
            again = connection.due_at()
            if again is not None and again > now:
                connection.restart_deadline()
                self.add(connection)
            elif again is not None:
                due.append(connection)
        return due

    def _valid(self, entry: tuple[float, int, Reapable]) -> bool:
        return self._wanted.get(id(entry[2])) == entry[0]


class Reaper:
    """The thread around the schedule. It runs no user code and closes no client.

    `reschedule` may be called from anywhere, also from signal handlers and finalizers.
    """

    def __init__(
        self,
        close: Callable[[list[Reapable]], None],
        check: Callable[[], bool],
    ) -> None:
        """`close` is given what is due. `check` is called at each step, and says
        whether to call it again soon, within RELIEF seconds."""
        self._close = close
        self._check = check
        self._inbox: Inbox[Reapable | None] = Inbox()
        self._schedule = Schedule()
        self._running = OwnedLock()
        self._post = OnDemandThread("reaper", self._run)
        self._ending = False
        clock.on_jump(self.wake)

    def reschedule(self, connection: Reapable) -> None:
        """The deadline of `connection` has changed: take it over, on the thread."""
        self._inbox.put(connection)
        if not self._running.locked:
            self._post.ensure_started()

    def wake(self) -> None:
        """Read the clock again: it has jumped."""
        self._inbox.put(None)

    def end_if_idle(self) -> None:
        """End the thread now instead of after LINGER, unless there is a deadline.

        The thread may be starting, so it is told whether or not it runs
        (test_a_reaper_that_is_told_to_end).
        """
        self._ending = True
        self._inbox.put(None)

    def _run(self) -> None:
        while self._running.take(hold := Hold()):
            try:
                while self._step():
                    pass
            finally:
                self._running.release(hold)
            if not self._inbox:
                return

    def _step(self) -> bool:
        """Sleep until the next deadline, hand over what is due; False to end."""
        waiting = self._check()
        due = self._schedule.next()
        idle = due is None
        if self._ending and not waiting and not self._inbox:
            self._ending = False
            if idle:
                return False
        wait: float | None = LINGER if due is None else max(0.0, due - clock.now())
        if due is not None and not clock.is_real():
            wait = None if wait else 0.0  # a test moves that clock, and wakes this
        if waiting:
            wait = RELIEF if wait is None else min(wait, RELIEF)
        if self._read(wait) or not idle or waiting:
            found = self._schedule.sweep(clock.now())
            if found:
                self._close(found)
            return True
        return False

    def _read(self, wait: float | None) -> bool:
        """Empty the inbox, waiting at most `wait` seconds for the first entry."""
        came = False
        with suppress(Empty):
            connection = self._inbox.get(wait)
            while True:
                came = True
                if connection is not None:
                    self._schedule.add(connection)
                connection = self._inbox.get(0)
        return came
