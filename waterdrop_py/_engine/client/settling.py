"""How what librdkafka called back with is settled: outcomes, wake-ups, users' code."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.counters import MessageCounters
from waterdrop_py._engine.client.metadata_asking import MetadataAsking
from waterdrop_py._engine.client.poll_lock import PollLock
from waterdrop_py._engine.concurrency import clock, loops
from waterdrop_py._engine.concurrency.call_marks import poller
from waterdrop_py._engine.concurrency.exact import exact
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.concurrency.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.report_sink import ReportSink
    from waterdrop_py._engine.client.tally import Tally

    Arrived: TypeAlias = tuple[Any, Any, Any]
    RunUsersCode: TypeAlias = Callable[[Callable[[], None]], None]


_NONE: Final[dict[Any, None]] = {}
"""Shared while no caller waits; never added to."""


class Settling(MessageCounters):
    """Settles what has arrived, in its order, one thread at a time. Without a lock.

    A native call only stores. The thread that made it settles what calls no code of
    the user's, wake-ups of waiting threads included. A worker settles the rest. So
    user code holds up neither the poll nor the caller of a verb, and no signal handler
    interrupts it.

    A native call adds to `arrived`, and its thread then looks whether `settle_lock` is
    held. The holder of that lock releases it, and then looks at `arrived`. One of the
    two sees the other (test_a_report_that_comes_as_the_worker_ends).

    Attributes:
        arrived: what librdkafka has called back with, in its order, until it is
            settled: (handle, error, message) for a report, (handle, None, None) for
            what watches a handle that has its outcome, and (None, function, argument)
            for any other callback.
        settling: the entry that is being settled, if one is.
        announcement: how far the report in front is announced.
        unobserved: a successful report concerns its handle alone.
        tally: what counts its idle gap and its re-open; None before it is open.
        awaited_since: when the use that re-opened it came, in seconds on the real
            clock, until it is served.
        reopen_ms: milliseconds from then to its first delivery; None where it was no
            re-open, or has served none.
        last_activity: seconds on the clock, written by the thread that settles.
        poll_soon: has the poller serve this client.
        run_users_code: runs a job that calls the user's code, where that may wait.
        between_polls: this thread serves the client, and no native call is below it.
        awaits: futures of asyncio's tasks, by the handle that each waits for.
        woken: handles whose tasks are to be woken behind the native call.
        on_room: called once when there are more outcomes: the queue has room again.
        flushes: woken when each message has its outcome.
    """

    __slots__ = (
        "_on_settled",
        "_seen",
        "announcement",
        "arrived",
        "asking",
        "awaited_since",
        "awaits",
        "between_polls",
        "flushes",
        "last_activity",
        "on_room",
        "poll_lock",
        "poll_soon",
        "progress_at",
        "reopen_ms",
        "reports",
        "run_users_code",
        "settle_lock",
        "settling",
        "tally",
        "unobserved",
        "woken",
    )

    def __init__(
        self,
        reports: ReportSink[Any],
        poll_soon: Callable[[Any], None],
        run_users_code: RunUsersCode,
    ) -> None:
        super().__init__()
        self.reports = reports
        self.poll_soon = poll_soon
        self.run_users_code = run_users_code
        self.arrived: deque[Arrived] = deque()
        self.settling: Arrived | None = None
        self._on_settled: Wakeup | None = None
        self._seen: tuple[Arrived | None, float] = (None, inf)
        self.settle_lock = OwnedLock()
        self.poll_lock = PollLock()
        self.announcement: Any = None
        self.asking = MetadataAsking()
        self.between_polls = False
        self.awaits: dict[Any, Any] = {}
        self.woken: list[Any] = []
        self.on_room: Callable[[], None] | None = None
        self.flushes: dict[Callable[[], object], None] = _NONE
        self.unobserved = False
        self.last_activity = clock.now()
        self.progress_at = 0.0
        self.tally: Tally | None = None
        self.awaited_since: float | None = None
        self.reopen_ms: float | None = None

    @property
    def served_here(self) -> bool:
        """Whether the calling thread polls this client, or settles what has arrived,
        further down its stack."""
        return self.poll_lock.held_here or self.settle_lock.held_here

    @property
    def unsettled(self) -> bool:
        """Whether something that has arrived is not settled yet."""
        return bool(self.arrived) or self.settling is not None

    @property
    def is_settled(self) -> bool:
        """Whether each message has its outcome, and all that watches it was called."""
        return not (self.in_flight() or self.unsettled)

    def is_held_up(self, now: float, longer: float) -> bool:
        """Whether one entry has been settled for more than `longer` seconds.

        True once for each. `now` is on the real clock. Without a clock for each report:
        the poller asks, and compares with what it has seen before.
        """
        entry, since = self._seen
        if self.settling is None or self.settling is not entry:
            self._seen = (self.settling, now)
            return False
        if now - since <= longer:
            return False
        self._seen = (entry, inf)
        return True

    def settle_here(self) -> None:
        """Settle what calls no code of the user's; a worker settles the rest."""
        hold = Hold()
        try:
            if self.settle_lock.take(hold):
                self._settle(users_code=False)
        finally:
            self.settle_lock.release(hold)
        if self.arrived and not self.settle_lock.locked:
            self.run_users_code(self.settle)

    def settle(self) -> None:
        """Settle everything, the user's code included. A worker's job."""
        while self.arrived:
            hold = Hold()
            try:
                if not self.settle_lock.take(hold):
                    return
                self._settle(users_code=True)
            except BaseException as error:
                if from_signal_handler(error):  # where no worker can start
                    raise
                self.reports.thread_raised(error)
                return
            finally:
                self.settle_lock.release(hold)
        if self.flushes:
            self.wake_flushes()
        polling = self._on_settled
        if polling is not None:
            polling()
        else:
            self.poll_lock.wake_next()

    def wait_settled(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the worker; whether all is settled. Poll
        lock held."""
        wakeup = Wakeup()
        self._on_settled = wakeup
        try:
            return not self.unsettled or (wakeup.wait(timeout) and not self.unsettled)
        finally:
            self._on_settled = None

    @poller
    def _settle(self, *, users_code: bool) -> None:
        """Settle what has arrived; without `users_code`, as far as none is called.

        A signal handler may raise anywhere in here, and its exception comes out at
        once. So a report stays in front until it is settled, and the next call
        continues with it.
        """
        arrived, before = self.arrived, self.acknowledged + self.failed
        try:
            while arrived:
                front = arrived[0]
                if not (users_code or self._concerns_waiters_alone(front)):
                    break
                self.settling = front
                handle, first, second = front
                if handle is None:
                    arrived.popleft()
                    first(second)
                    continue
                if first is second:
                    watchers.notify(self, handle)
                else:
                    self.reports.settle(self, handle, first, second)
                # A subscriber may have forked: the child has nothing to settle.
                if arrived and arrived[0] is front:
                    arrived.popleft()
        finally:
            self.settling = None
            if self.woken:
                self.wake_tasks()
            self.note_reports(before)
            if self.reports.resending.waiting:
                self._resend()

    def _concerns_waiters_alone(self, entry: Arrived) -> bool:
        handle, error, native = entry
        return (
            handle is not None
            and error is None
            and native is None
            and self.unobserved
            and not watchers.has_callbacks(handle)
        )

    def note_reports(self, before: int) -> None:
        """Count as activity that there are more outcomes than `before`."""
        if self.acknowledged + self.failed != before:
            self.last_activity = clock.now()
            self.progress_at = clock.system_now()
            if self.awaited_since is not None and self.acknowledged:
                self.note_served(self.progress_at)
            on_room = self.on_room
            if on_room is not None:
                self.on_room = None
                on_room()
            if self.flushes:
                self.wake_flushes()
            asking = self.asking
            if self.last_activity >= asking.ask_at and asking.ask is not None:
                asking.ask(self)

    def note_served(self, now: float) -> None:
        """Count what its re-open took; `now` is on the real clock. Again does no
        harm."""
        since, tally = self.awaited_since, self.tally
        if since is not None and tally is not None:
            if self.reopen_ms is None:
                self.reopen_ms = exact((now - since) * 1000)
            tally.add_reopen(since, self.reopen_ms)
            self.awaited_since = None

    def wake_task(self, handle: Any) -> None:
        """Have the task that waits for `handle` woken, if there is one."""
        if handle in self.awaits:
            self.woken.append(handle)

    def wake_tasks(self) -> None:
        """Wake the tasks of all in `woken`, those of one loop together.

        A signal handler may raise anywhere in here; the next call continues. A future
        is taken out of `awaits` once it was woken.
        """
        woken, awaits = self.woken, self.awaits
        while woken:
            batch = list(woken)
            futures = [awaits.get(handle) for handle in batch]
            loops.wake_all(each for each in futures if each is not None)
            for handle in batch:
                awaits.pop(handle, None)
            del woken[: len(batch)]

    def wake_all_tasks(self) -> None:
        """Wake every task that waits for a report: all handles have their outcome."""
        self.woken.extend(list(self.awaits))
        self.wake_tasks()

    def wake_flushes(self) -> None:
        """Wake what waits until everything is settled, if it is."""
        if self.is_settled:
            for wakeup in list(self.flushes):
                wakeup()

    def add_flush(self, wakeup: Callable[[], object]) -> None:
        """Call `wakeup` whenever everything is settled. The caller looks afterwards."""
        if self.flushes is _NONE:
            self.flushes = {}
        self.flushes[wakeup] = None

    def remove_flush(self, wakeup: Callable[[], object]) -> None:
        """Call it no more."""
        self.flushes.pop(wakeup, None)

    def _resend(self) -> None:
        """Have messages produced again; at once where no thread starts."""
        self.between_polls = True
        try:
            self.reports.resending.begin()
        finally:
            self.between_polls = False

    def notify_later(self, handle: watchers.Pending) -> None:
        """Have what watches `handle` called again: this call was interrupted."""
        self.arrived.append((handle, None, None))
        self.poll_soon(self)

    def done_callback_raised(self, error: BaseException) -> None:
        """Report what a user's callback of a handle raised."""
        self.reports.callback_raised("done_callback", error)
