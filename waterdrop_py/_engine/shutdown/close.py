"""The bounded close of a producer: deliver, give up the rest, close the client."""

from __future__ import annotations

import math
import warnings
from threading import get_ident
from typing import TYPE_CHECKING, Final, cast

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.borrow_marks import borrows_here
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.call_marks import CallMark
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.closing import finish_closing, refuse_senders
from waterdrop_py._engine.connection.disconnecting import teardown_of
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.reports import flush
from waterdrop_py._engine.reports.accounting import CloseAccounting, DrainReport
from waterdrop_py._engine.reports.giving_up import give_up
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.teardown import Teardown

GRACE: Final = 0.25
"""Seconds after the bound for the reports of purged messages, and as many again for the
native close: `close` returns within its timeout + 0.5 s."""
PER_MESSAGE: Final = 0.000_005
"""Additional seconds for each message beyond FREE: its report has to be served."""
FREE: Final = 100_000
GIVEN_UP: Final = 0.000_012
"""Seconds that a purged message costs: 4 us for the purge and its report, and 3 us for
its place in the `DrainReport`, on an idle machine; about twice that on a busy one."""
SLOWEST: Final = 0.000_1
"""Seconds that a caller waits for each message that is given up, where the machine is
so busy that the worker needs longer than its bound."""
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
    shutdown = cast("Shutdown", connection.close_by(made))
    if shutdown is made:
        made.count_outcomes()
    shutdown.shorten(deadline, force=force)
    return shutdown


def combined(reports: list[DrainReport]) -> DrainReport:
    """One report of a producer and its variants."""
    return DrainReport(
        sum(report.delivered for report in reports),
        sum(report.failed for report in reports),
        [message for report in reports for message in report.undelivered],
        all(report.complete for report in reports),
    )


def abandon(connection: Connection) -> None:
    """Have a worker close the producer of `connection`, which was dropped without
    `close()`.

    Called by a finalizer, which may run anywhere: it neither blocks nor takes a lock.
    """
    check()
    client = connection.ledger.book[1]
    held = sum(refusal.count for refusal in connection.hooks.refusals())
    if connection.shutdown is not None or (client is None and not held):
        return
    left = held + (0 if client is None else client.in_flight())
    made = Shutdown(connection, clock.system_now() + connection.close_timeout)
    if connection.close_by(made) is made:
        made.run_later()
    if left:
        warnings.warn(
            f"producer {connection.emitter.producer_id!r} was dropped without close() "
            f"while {left} messages were on their way; they are delivered in the "
            "background",
            ResourceWarning,
            stacklevel=3,
        )


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
        self._connection = connection
        self._deadline = self._handing_until = deadline
        self._then = then
        self._force = False
        self._started = clock.system_now()
        self._over_by = -math.inf
        self._accounting = CloseAccounting()
        self._client: Client | None = None
        self._teardown: Teardown | None = None
        self._report: DrainReport | None = None
        self._closing_told: list[Callable[..., object]] = []
        self.awaits: list[Shutdown] = []
        self._handed_over = Future(self._hand_over)
        self._closed = Future(self._close)
        self._whole = Future(self._run)

    def count_outcomes(self) -> None:
        """Count what becomes of each message from now on. Again does no harm."""
        connection = self._connection
        connection.reports.start_accounting(self._accounting)
        connection.refresh()

    def shorten(self, deadline: float, *, force: bool) -> None:
        """End no later than at `deadline`: a later `close` has less time."""
        self._force = self._force or force
        if force:
            deadline = clock.system_now()
        self._deadline = min(self._deadline, deadline)

    def progress(self) -> DrainReport:
        """What is known so far; the whole report once the producer is closed."""
        return self._report or self._accounting.report(complete=False)

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
            if until >= self._over_by:
                return False
            until = self._over_by
        return True

    def run_here(self) -> None:
        """Run what no other thread runs, on the calling thread."""
        self._whole()

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
        connection, me = self._connection, get_ident()
        client, teardown = connection.ledger.book[1], connection.teardown
        if teardown is not None:
            teardown.retry_if_stuck()
            if teardown.thread == me or teardown.client.poll_lock.held_here:
                return True
        if self._report is not None:
            return False
        if connection.hooks.inside() or connection.locked_here or self._awaits_here():
            return True
        if client is None:
            return False
        pinned = any(pin.thread == me for pin in tuple(client.pins))
        return client.poll_lock.held_here or pinned or borrows_here(client) > 0

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
                found += tuple(each.awaits)
        return False

    def forked(self) -> None:
        """This is a child, where no thread continues the close: the parent does."""
        if self._report is None:
            self._report = DrainReport()
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
        self.count_outcomes()
        self._handing_until = self._deadline
        self._take_buffer(self._handing_until, force=self._force)
        if not self._closed.begun:
            self._refuse()

    def _take_buffer(self, deadline: float, *, force: bool) -> None:
        connection = self._connection
        if connection.hooks.before_close is None:
            return
        try:
            unsent = connection.hooks.before_close(deadline, force=force)
        except BaseException as error:
            if from_signal_handler(error):
                raise
            connection.emitter.error("messages.produce_many_async", error)
        else:
            self._accounting.unsent += unsent

    def _refuse(self) -> None:
        self._client = refuse_senders(self._connection)
        if self._client is not None:
            self._client.observe_reports()
        if self._then is not None:
            self._then()

    @_step
    def _close(self) -> None:
        connection, emitter = self._connection, self._connection.emitter
        self._refuse()
        emitter.emit("producer.closing", begun=self._closing_told)
        # A thread that was appending as senders were refused has done so by now, or
        # checks again (test_a_message_buffered_as_the_producer_closes).
        self._take_buffer(clock.system_now(), force=True)
        if self._client is not None:
            self._flush(self._client)
            self._give_up_the_rest(self._client)
            self._destroy(self._client)
        teardown = connection.teardown
        if teardown is not None:
            teardown.wait(max(0.0, self._deadline - clock.system_now()) + GRACE)
        connection.reports.stop_accounting()
        finish_closing(connection)
        self._report = self._accounting.report()
        self._log_what_was_given_up(self._report)
        took_ms = (clock.system_now() - self._started) * 1000
        emitter.emit("producer.closed", duration_ms=took_ms)

    def _log_what_was_given_up(self, report: DrainReport) -> None:
        """Log one line for all, if no subscriber is told of each message."""
        emitter = self._connection.emitter
        logged = self._connection.reports.exiting or emitter.listens("error.occurred")
        if report.undelivered and not logged:
            error = ProduceError(
                "given up by the close of the producer, at its bound (purge_queue)",
                code="purge_queue",
            )
            about = {"messages": report.undelivered}
            LOG.error(emitter, "librdkafka.dispatch_error", error, about)

    def _flush(self, client: Client) -> None:
        # What is left is purged afterwards, and serving its reports takes time.
        reserve = max(0.0, min(FREE, client.in_flight()) * GIVEN_UP - GRACE)

        def over() -> bool:
            late = clock.system_now() >= self._deadline - reserve
            return late or _nothing_left(client)

        push = self._connection.factory.lingers
        flush.wait_until(client, over, self._deadline - reserve, push=push)

    def _give_up_the_rest(self, client: Client) -> None:
        if _nothing_left(client):
            return
        left = client.in_flight()
        grace = GRACE + max(0, left - FREE) * PER_MESSAGE
        deadline = max(self._deadline, clock.system_now()) + grace
        self._over_by = deadline + GRACE + left * SLOWEST
        self._accounting.undelivered += give_up(client, deadline)
        waiting.wait_serving(client, lambda: _nothing_left(client), deadline, idle=0.01)

    def _destroy(self, client: Client) -> None:
        connection, teardown = self._connection, self._teardown
        if teardown is None:
            teardown = self._teardown = teardown_of(connection, client, "close")
            connection.ledger.closed(client, "close")
            try:
                connection.emitter.emit("producer.disconnecting", {"reason": "close"})
            finally:
                self._begin(teardown)
        teardown.wait(max(0.0, self._deadline - clock.system_now()) + GRACE)
        self._client = None

    def _begin(self, teardown: Teardown) -> None:
        client, workers = teardown.client, self._connection.runtime.workers
        if client.pins:
            # A block of `native()` lasts beyond the bound. The client must not be
            # destroyed before its end.
            client.pins.on_last(lambda: workers.submit(teardown.run))
        else:
            teardown.begin()


def _nothing_left(client: Client) -> bool:
    return not (
        client.borrows or client.pins or client.in_flight() or client.users_in_flight()
    )
