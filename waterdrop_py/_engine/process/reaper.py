"""Closes clients that have been idle, or open, for long enough."""

from __future__ import annotations

import heapq
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Final, Protocol

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Claim, Ticket
from waterdrop_py._engine.concurrency.threads import OnDemandThread
from waterdrop_py._engine.concurrency.wakeup import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

LINGER: Final = 3.0
"""Seconds that the thread stays when nothing needs it."""
RELIEF: Final = 0.05
"""Seconds between two looks at the closers while jobs wait for one."""


class Reapable(Protocol):
    """What the reaper asks of a slot."""

    def due_at(self) -> float | None:
        """When it falls due, in seconds on the clock; None when it cannot."""

    def restart_deadline(self) -> None:
        """It was looked at, and is not due yet."""


class Schedule:
    """Deadlines of slots: pure policy, no thread, no clock of its own."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Reapable]] = []
        self._wanted: dict[Hashable, float] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._wanted)

    def look_at(self, connection: Reapable) -> None:
        """Take the slot's deadline as it is now; without one, forget the slot."""
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
        """The slots that are due at `now`.

        A slot that was active meanwhile gets its new deadline instead, so that a
        busy producer costs one look per timeout. A due slot is forgotten: it is
        looked at again when it was closed, or when what refused it has ended.
        """
        due: list[Reapable] = []
        while (first := self.next()) is not None and first <= now:
            _, _, connection = heapq.heappop(self._heap)
            del self._wanted[id(connection)]
            again = connection.due_at()
            if again is not None and again > now:
                connection.restart_deadline()
                self.look_at(connection)
            elif again is not None:
                due.append(connection)
        return due

    def _valid(self, entry: tuple[float, int, Reapable]) -> bool:
        return self._wanted.get(id(entry[2])) == entry[0]


class Reaper:
    """The thread around the schedule. It runs no user code and closes nothing:

    what is due goes to `disconnect_if_due`, which hands it to the workers. `look_at`
    may be called from anywhere, also from signal handlers and finalizers.
    """

    def __init__(
        self,
        reap: Callable[[list[Reapable]], None],
        relieve: Callable[[], bool],
    ) -> None:
        self._reap = reap
        self._relieve = relieve
        self._inbox: Inbox[Reapable | None] = Inbox()
        self._schedule = Schedule()
        self._running = Claim()
        self._post = OnDemandThread("reaper", self._run)
        self._resting = False
        clock.on_jump(self.wake)

    def look_at(self, connection: Reapable) -> None:
        """The slot's deadline has changed: take note, and start if need be."""
        self._inbox.put(connection)
        if not self._running.taken:
            self._post.fill()

    def wake(self) -> None:
        """Look at the clock again: it has jumped."""
        self._inbox.put(None)

    def rest(self) -> None:
        """End now, and not after the linger, unless there is a deadline.

        Said in any case: the thread may be on its way (test_a_reaper_that_is_to_rest).
        """
        self._resting = True
        self._inbox.put(None)

    def _run(self) -> None:
        while self._running.take(ticket := Ticket()):
            try:
                while self._step():
                    pass
            finally:
                self._running.release(ticket)
            if not self._inbox:
                return

    def _step(self) -> bool:
        """Sleep to the next deadline, hand over what is due; False to end."""
        waiting = self._relieve()
        due = self._schedule.next()
        idle = due is None
        if self._resting and not waiting and not self._inbox:
            self._resting = False
            if idle:
                return False
        wait: float | None = LINGER if due is None else max(0.0, due - clock.now())
        if due is not None and not clock.is_real():
            wait = None if wait else 0.0  # somebody moves that clock, and rings
        if waiting:
            wait = RELIEF if wait is None else min(wait, RELIEF)
        if self._read(wait) or not idle or waiting:
            victims = self._schedule.sweep(clock.now())
            if victims:
                self._reap(victims)
            return True
        return False

    def _read(self, wait: float | None) -> bool:
        """Take in what came, waiting at most `wait` seconds for the first."""
        came = False
        with suppress(Empty):
            connection = self._inbox.get(wait)
            while True:
                came = True
                if connection is not None:
                    self._schedule.look_at(connection)
                connection = self._inbox.get(0)
        return came
