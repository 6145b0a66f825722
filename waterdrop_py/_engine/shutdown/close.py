"""The bounded close of a producer: deliver, give up the rest, close the client."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.borrow_marks import borrows_here
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.native import caller_id
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.concurrency.wakeup import Wakeup, sleep
from waterdrop_py._engine.connection.closing import begin_closing, finish_closing
from waterdrop_py._engine.connection.disconnecting import teardown_of
from waterdrop_py._engine.connection.teardown import INSIDE, Teardown
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.reports import flush
from waterdrop_py._engine.reports.accounting import DrainReport
from waterdrop_py._engine.reports.giving_up import give_up
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.hooks import Closing

GRACE: Final = 0.25
"""Seconds after the bound for the reports of purged messages, and as many again for the
native close: `close` returns within its timeout + 0.5 s."""
PER_MESSAGE: Final = 0.000_005
"""Additional seconds for each message beyond FREE: its report has to be served."""
FREE: Final = 100_000
GIVEN_UP: Final = 0.000_012
"""Seconds that a purged message costs: 4 us for the purge and its report, and 3 us for
its place in the `DrainReport`, on an idle machine; about twice that on a busy one."""
_LONGEST_WAIT: Final = 60.0
"""Seconds of one wait: a signal handler that raises may prevent a wake-up."""


def begin(connection: Connection, timeout: float, *, force: bool = False) -> None:
    """Hand the buffer over, and refuse senders from then on.

    `close` does the rest, by the same deadline. Inside a call that has to end first,
    this does nothing, and `close` does all of it.
    """
    if connection.shutdown is None and not _inside(connection):
        deadline = clock.system_now() + timeout
        _hand_over(connection, deadline, force=force)
        _begin(connection, deadline)


def _begin(connection: Connection, deadline: float) -> Closing | None:
    return begin_closing(
        connection, lambda client: Shutdown(connection, client, deadline), deadline
    )


def _hand_over(connection: Connection, deadline: float, *, force: bool) -> None:
    """Hand the buffer over. One thread does, and others that close wait for it: if they
    refused senders meanwhile, the rest of the buffer would be refused too
    (test_a_buffer_at_the_end_of_a_process)."""
    if connection.hooks.before_close is None:
        return
    accounting = connection.reports.start_accounting()
    connection.refresh()
    try:
        accounting.right.pop()
    except IndexError:
        while (
            not force
            and accounting.runner is not None
            and clock.system_now() < deadline
        ):
            sleep(INSIDE)
        return
    try:
        accounting.runner = caller_id()
        accounting.unsent += connection.hooks.before_close(deadline, force=force)
    finally:
        accounting.runner = None
        accounting.right.append(None)


def close(connection: Connection, timeout: float, *, force: bool) -> DrainReport:
    """Close the producer of `connection`; see `Producer.close`."""
    deadline = clock.system_now() + timeout
    if connection.shutdown is None:
        if _inside(connection):
            _close_elsewhere(connection, timeout, force=force)
            return DrainReport(complete=False)
        _hand_over(connection, deadline, force=force)
    shutdown = connection.shutdown or _begin(connection, deadline)
    if shutdown is None:
        # This thread, or one that takes longer than `timeout`, is opening the client.
        # It closes the producer after that.
        connection.when_free(lambda: _close_elsewhere(connection, timeout, force=force))
        return DrainReport(complete=False)
    shutdown.shorten(clock.system_now() if force else deadline)
    if shutdown.must_not_wait():
        connection.runtime.workers.submit(lambda: _run(shutdown, force=force))
        return shutdown.progress()
    if shutdown.run(force=force):
        return shutdown.progress()
    return shutdown.wait(deadline + 2 * GRACE)


def combined(reports: list[DrainReport]) -> DrainReport:
    """One report of a producer and its variants."""
    return DrainReport(
        sum(report.delivered for report in reports),
        sum(report.failed for report in reports),
        [message for report in reports for message in report.undelivered],
        all(report.complete for report in reports),
    )


def _inside(connection: Connection) -> bool:
    """Whether this thread is inside a callback or a step of the connection."""
    client, accounting = connection.client, connection.reports.accounting
    if accounting is not None and accounting.runner == caller_id():
        return True  # the call interrupted the hand-over of the buffer
    return (
        connection.hooks.inside()
        or connection.locked_here
        or client.poll_lock.held_here
        or borrows_here(client) > 0
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
    _close_elsewhere(connection, connection.close_timeout, force=False)
    if left:
        warnings.warn(
            f"producer {connection.emitter.producer_id!r} was dropped without close() "
            f"while {left} messages were on their way; they are delivered in the "
            "background",
            ResourceWarning,
            stacklevel=3,
        )


def _close_elsewhere(connection: Connection, timeout: float, *, force: bool) -> None:
    me = caller_id()

    def job() -> None:
        # Where no thread can start, this runs inside the very call that has to end
        # first. It is left to the next call (test_a_close_without_any_thread).
        if caller_id() == me and _inside(connection):
            connection.runtime.poller.do_next(job)
        else:
            close(connection, timeout, force=force)

    connection.runtime.workers.submit(job)


def _run(shutdown: Closing, *, force: bool) -> None:
    """Run a close on a worker, which does not need to know whether it ran."""
    shutdown.run(force=force)


class Shutdown:
    """The close of one producer.

    `_right.pop` decides which thread runs it. If a Ctrl-C interrupts that thread, the
    right is given back, and a worker continues.
    """

    def __init__(
        self, connection: Connection, client: Client | None, deadline: float
    ) -> None:
        self._connection = connection
        self._client = client
        self._deadline = deadline
        self._started = clock.system_now()
        self._drain = connection.reports.start_accounting()
        self._right: list[None] = [None]
        self._runner: int | None = None
        self._announced = False
        self._teardown: Teardown | None = None
        self._report: DrainReport | None = None
        self._wakeups: list[Wakeup] = []
        if client is not None:
            client.observe_reports()

    def must_not_wait(self) -> bool:
        """Whether the calling thread would wait for the call that it interrupted."""
        client, teardown = self._client, self._connection.teardown
        me = caller_id()
        if teardown is not None:
            teardown.retry_if_stuck()
            if teardown.thread == me or teardown.client.poll_lock.held_here:
                return True
        if self._report is not None:
            return False
        if self._runner == me:
            return True  # inside a subscriber of an event of this very close
        if client is None:
            return False
        pinned = any(pin.thread == me for pin in tuple(client.pins))
        return client.poll_lock.held_here or pinned or borrows_here(client) > 0

    def progress(self) -> DrainReport:
        """What is known so far; the whole report once the producer is closed."""
        return self._report or self._drain.report(complete=False)

    def wait(self, deadline: float) -> DrainReport:
        """Wait for the thread that closes, but not beyond `deadline`."""
        wakeup = Wakeup()
        self._wakeups.append(wakeup)
        while self._report is None and (left := deadline - clock.system_now()) > 0:
            wakeup.wait(min(left, _LONGEST_WAIT))
        return self.progress()

    def run(self, *, force: bool) -> bool:
        """Close, here and now; False when another thread does or did."""
        try:
            self._right.pop()
        except IndexError:
            return False
        try:
            self._runner = caller_id()
            self._close(force=force)
        except BaseException:
            if self._report is None:
                self._runner = None  # otherwise its next close() would not wait
                self._right.append(None)
                self._connection.runtime.workers.submit(lambda: _run(self, force=force))
            raise
        return True

    def _close(self, *, force: bool) -> None:
        connection, emitter = self._connection, self._connection.emitter
        if not self._announced:
            self._announced = True
            emitter.emit("producer.closing")
        if connection.hooks.before_close is not None:
            # A thread that was appending as senders were refused has done so by now,
            # or checks again (test_a_message_buffered_as_the_producer_closes).
            now = clock.system_now()
            self._drain.unsent += connection.hooks.before_close(now, force=True)
        if self._client is not None:
            if not force:
                self._flush(self._client)
            self._give_up_the_rest(self._client)
            self._destroy(self._client)
        teardown = connection.teardown
        if teardown is not None:
            teardown.wait(max(0.0, self._deadline - clock.system_now()) + GRACE)
        finish_closing(connection)
        self._report = self._drain.report()
        self._log_what_was_given_up(self._report)
        took_ms = (clock.system_now() - self._started) * 1000
        try:
            emitter.emit("producer.closed", duration_ms=took_ms)
        finally:
            for wakeup in tuple(self._wakeups):
                wakeup()

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

    def shorten(self, deadline: float) -> None:
        """End no later than at `deadline`: a later `close` has less time."""
        self._deadline = min(self._deadline, deadline)

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
        self._drain.undelivered += give_up(client, deadline)
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
        connection.reports.stop_accounting()

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
