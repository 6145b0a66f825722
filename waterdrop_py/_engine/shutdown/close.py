"""The bounded close of a producer: which thread runs it, and which threads wait."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final, cast

from waterdrop_py._engine.client.borrow_marks import borrows_here
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.call_marks import CallMark
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.native import caller_id
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.closing import close_by
from waterdrop_py._engine.reports.accounting import DrainReport
from waterdrop_py._engine.shutdown.steps import GRACE, Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waterdrop_py._engine.connection.connection import Connection

EARLIER: Final = 0.05
"""Seconds by which the deadline of a second `close` has to be earlier for it not to
wait until the first one has handed the buffer over."""

_step: Final = CallMark()
"""Marks the methods of `Shutdown` that a worker runs."""


def start(
    connection: Connection,
    deadline: float,
    *,
    force: bool = False,
    then: Callable[[], None] | None = None,
) -> Shutdown:
    """The close of the producer, made by the first call. `Shutdown.wait` has it run.

    `then` is called once senders are refused. A later call may shorten it.
    """
    made = Shutdown(connection, deadline, then)
    shutdown = cast("Shutdown", close_by(connection, made))
    if shutdown is made:
        made.count_outcomes()
    shutdown.shorten(deadline, force=force)
    return shutdown


def must_not_wait(connection: Connection) -> bool:
    """Whether a close would wait for the call that the calling thread is inside of."""
    return Shutdown(connection, clock.system_now()).must_not_wait()


def combined(reports: Sequence[DrainReport]) -> DrainReport:
    """One report of several closes."""
    return DrainReport(
        sum(report.delivered for report in reports),
        sum(report.failed for report in reports),
        [message for report in reports for message in report.undelivered],
        all(report.complete for report in reports),
    )


def abandon(connection: Connection, gone: Callable[[], None]) -> None:
    """Have a worker close the producer of `connection`, which was dropped without
    `close()`, and call `gone` once it is closed.

    Called by a finalizer, which may run anywhere: it neither blocks nor takes a lock.
    """
    check()
    if connection.shutdown is None and not _close_dropped(connection):
        gone()
    elif connection.shutdown is not None:
        cast("Shutdown", connection.shutdown).on_closed(gone)


def _close_dropped(connection: Connection) -> bool:
    """Have a worker close a dropped producer; False if there is nothing to close."""
    client = connection.ledger.book.client
    held = sum(refusal.count for refusal in connection.hooks.refusals())
    if client is None and not held:
        if not connection.ledger.opens:
            return False
        if not connection.emitter.listens("producer.closed"):
            return False
    left = held + (0 if client is None else client.in_flight())
    made = Shutdown(connection, clock.system_now() + connection.close_timeout)
    if close_by(connection, made) is made:
        made.run_later()
    if left:
        warnings.warn(
            f"producer {connection.emitter.producer_id!r} was dropped without close() "
            f"while {left} messages were on their way; they are delivered in the "
            "background",
            ResourceWarning,
            stacklevel=4,
        )
    return True


class Shutdown:
    """The close of one producer. Thread-safe, no lock.

    A worker runs it, and callers wait for that. Each part is a `Future`, so it runs
    once, on the thread that comes first.
    """

    def __init__(
        self,
        connection: Connection,
        deadline: float,
        then: Callable[[], None] | None = None,
    ) -> None:
        """`then` is called once senders are refused."""
        self._connection = connection
        self._steps = Steps(connection, deadline, then)
        self._handing_until = deadline
        self.awaits: list[Shutdown] = []
        self._handed_over = Future(self._hand_over)
        self._closed = Future(self._close)
        self._whole = Future(self._run)

    def count_outcomes(self) -> None:
        """Count what becomes of each message from now on."""
        self._steps.count_outcomes()

    def shorten(self, deadline: float, *, force: bool) -> None:
        """End no later than at `deadline`, or now: a later `close` has less time."""
        steps = self._steps
        steps.force = steps.force or force
        steps.deadline = min(steps.deadline, clock.system_now() if force else deadline)

    def on_closed(self, gone: Callable[[], None]) -> None:
        """Call `gone` once the producer is closed, now if it is."""
        self._closed.on_done(gone)

    @property
    def over_by(self) -> float:
        """When it is over at the latest, in seconds on the system's clock."""
        return max(self._steps.deadline + 2 * GRACE, self._steps.over_by)

    def progress(self) -> DrainReport:
        """What is known so far; the whole report once the producer is closed."""
        return self._steps.report or self._steps.accounting.report(complete=False)

    # -- on the caller's thread --------------------------------------------

    def wait(self, deadline: float, *, force: bool = False) -> DrainReport:
        """Have a worker run it, and wait for that until 0.5 s after `deadline`.

        It runs here where no thread can start. Where this thread would wait for itself,
        this returns at once. With `force` it does not wait for the buffer either.
        """
        around = [frame.f_locals["self"] for frame in _step.frames()]
        for each in around:
            each.awaits.append(self)
        try:
            if self.must_not_wait():
                self.run_later()
            elif self._wait(clock.system_now() if force else deadline, deadline):
                self._closed.result()
        finally:
            for each in around:
                each.awaits.remove(self)
        return self.progress()

    def _wait(self, impatient_at: float, deadline: float) -> bool:
        workers = self._connection.runtime.workers
        job = self._whole
        if self._handed_over.begun and self._handing_until > impatient_at + EARLIER:
            # Another close, which has more time, may still hand the buffer over.
            if workers.wait(job, impatient_at, self._closed):
                return True
            job = self._closed
        until = deadline + 2 * GRACE
        while not workers.wait(job, until, self._closed):
            if until >= self._steps.over_by:
                return False
            until = self._steps.over_by
        return True

    def run_here(self) -> None:
        """Run what no other thread runs, on the calling thread."""
        self._run()

    def begin_here(self) -> None:
        """Hand the buffer over and refuse senders, on the calling thread."""
        self._handed_over()

    def run_later(self) -> None:
        """Have a worker run it. Does not wait; callable in finalizers."""
        if not self._whole.begun:
            self._connection.runtime.workers.submit(self._run_or_put_off)

    def _run_or_put_off(self) -> None:
        # Where no thread can start, this runs inside the very call that has to end
        # first. It is left to the next call (test_a_close_without_any_thread).
        if self.must_not_wait():
            self._connection.runtime.poller.do_next(self._run_or_put_off)
        else:
            self._whole()

    def must_not_wait(self) -> bool:
        """Whether the calling thread would wait for the call that it interrupted."""
        connection, me = self._connection, caller_id()
        client = self._steps.client or connection.ledger.book[1]
        teardown = connection.teardown
        if teardown is not None:
            teardown.retry_if_stuck()
            if teardown.thread == me or teardown.client.served_here:
                return True
        if self._steps.report is not None:
            return False
        if connection.hooks.deferred is not None and connection.hooks.deferred.inside():
            return True
        if connection.hooks.inside() or connection.locked_here or self._awaits_here():
            return True
        if client is None:
            return False
        pinned = any(pin.thread == me for pin in list(client.pins))
        return client.served_here or pinned or borrows_here(client) > 0

    def _awaits_here(self) -> bool:
        """Whether this close runs on this thread, further down its stack, or waits for
        one that does: a subscriber of its events closes other producers, one of whose
        subscribers closes this one."""
        around = [frame.f_locals["self"] for frame in _step.frames()]
        seen: list[Shutdown] = []
        found = [self] if around else []
        while found:
            each = found.pop()
            if each in around:
                return True
            if each not in seen:
                seen.append(each)
                found += list(each.awaits)
        return False

    def forked(self) -> None:
        """This is a child, where no thread continues the close: the parent does."""
        if self._steps.report is None:
            self._steps.report = DrainReport()
        self._closed.resolve(None)

    # -- on the worker -----------------------------------------------------

    def _run(self) -> None:
        self._handed_over()
        if self._handed_over.done:  # else the thread that is at it continues
            self._closed()

    @_step
    def _hand_over(self) -> None:
        """Hand the buffer over, then refuse senders. Others that close wait for it: if
        they refused senders meanwhile, the rest of the buffer would be refused too
        (test_a_buffer_at_the_end_of_a_process)."""
        if self._closed.begun:
            return
        self._handing_until = self._steps.deadline
        self._steps.hand_over(self._handing_until)
        if not self._closed.begun:
            self._steps.refuse()

    @_step
    def _close(self) -> None:
        self._steps.close()
