"""`Client`: one librdkafka client, and how it is polled."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.fatal import Fatal
from waterdrop_py._engine.client.foreign import has_answered
from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py._engine.client.kafka_errors import code_name
from waterdrop_py._engine.client.pins import Pins
from waterdrop_py._engine.client.settling import Settling
from waterdrop_py._engine.client.tally import SHORTEST_GAP
from waterdrop_py._engine.client.transaction_state import TransactionState
from waterdrop_py._engine.concurrency import clock, signals, users_code
from waterdrop_py._engine.concurrency.call_marks import poller
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.report_sink import ReportSink
    from waterdrop_py._engine.client.settling import RunUsersCode
    from waterdrop_py.typing import KafkaClient


def _leave_to_poller(_: Client) -> None:
    """Where no thread polls for tasks, the poller does."""


class Client(Settling):
    """What is known of one librdkafka client, and the only way to it. Without a lock.

    A sender appends to `borrows`, looks again whether this is still the connection's
    client, and only then produces. A disconnect takes the client out of the connection
    first and looks at `borrows` second, so one of the two sees the other. The thread
    that holds `poll_lock` serves the reports.

    Attributes:
        quiet: nothing is in flight, and the poller seldom looks. The next send checks
            how long the client was idle, and has the poller serve its report.
        gap_since: when the client before it was last active, in seconds on the clock
            (`inf` if there was none), until this one is used; None from then on.
        deadline_noted: the reaper knows when the client falls due.
        reached: a broker has answered.
        token_due: epoch seconds from which on a poll may ask the token provider.
        fatal: the error that has ended the client, once it is known.
        refusals: the reasons for which a due close was refused.
        attended: a thread polls it for the tasks in `awaits`.
        attend: has a thread do so.
    """

    __slots__ = (
        "__weakref__",
        "answers_before",
        "attend",
        "attended",
        "borrows",
        "deadline_noted",
        "fatal",
        "gap_since",
        "native",
        "on_settled",
        "opened_at",
        "pins",
        "poll_at",
        "produce",
        "quiet",
        "reached",
        "refusals",
        "statistics",
        "token_due",
        "transaction",
    )

    def __init__(
        self,
        reports: ReportSink[Client],
        poll_soon: Callable[[Client], None],
        run_users_code: RunUsersCode = users_code.run,
        attend: Callable[[Client], None] = _leave_to_poller,
    ) -> None:
        """`poll_soon` has the poller serve a client, `attend` a thread that blocks."""
        super().__init__(reports, poll_soon, run_users_code)
        self.native: KafkaClient | None = None
        self.produce: Callable[..., None] | None = None
        self.transaction = TransactionState()
        self.on_settled: Callable[[], None] | None = None
        # A deque: a list frees its memory with its last mark and allocates it with the
        # next one, which is a tenth of the library's work for a message.
        self.borrows: deque[None] = deque()
        self.quiet = True
        self.reached = False
        self.statistics = False
        self.deadline_noted = False
        self.opened_at = self.last_activity
        self.gap_since: float | None = None
        self.poll_at = 0.0
        self.token_due = inf
        self.answers_before = 0
        self.fatal: Fatal | None = None
        self.refusals: set[str] = set()
        self.pins = Pins()
        self.attended = False
        self.attend = attend

    @property
    def poll_calls_users_code(self) -> bool:
        """Whether a poll may ask the user's token provider: a worker polls then."""
        return self.token_due < inf and clock.wall_now() >= self.token_due

    def serve(self, timeout: float) -> None:
        """Serve reports and callbacks for at most `timeout` seconds. Poll lock held."""
        if self.native is not None:
            self.serve_with(self.native.poll, timeout)
            if not self.reached and not self.quiet:
                self.reached = self.acknowledged > 0 or has_answered(self.native)
        elif self.arrived:
            self.settle_here()

    def serve_with(self, native: Callable[[float], object], timeout: float) -> None:
        """`serve` by another native call than the poll."""
        try:
            self.run(native, timeout)
        except KafkaException as error:
            if signals.from_signal_handler(error):
                raise
            self.reports.poll_raised(self, error)

    @poller
    def run(self, native: Callable[[float], object], timeout: float) -> None:
        """Make a native call that may call back, and settle what it has stored.

        What calls the user's code is settled by a worker, and perhaps later.
        """
        before = self.acknowledged + self.failed
        try:
            native(timeout)
        except BaseException as error:
            self.counters_uncertain = True
            raise_interruption(error)
            raise
        finally:
            if self.woken:
                self.wake_tasks()
            self.note_reports(before)
            if self.arrived:
                self.settle_here()

    def note_fatal(self, native: Any) -> None:
        """Note the fatal error; the first one that says more than `_FATAL` stays."""
        known = self.fatal
        if known is None or code_name(known.native) == "fatal":
            transaction = self.transaction
            self.fatal = Fatal(native, transaction.registration, transaction.age())

    @signals.no_signal_at_entry
    def stop_polling(
        self,
        hold: Hold,
        again: Callable[[Client], None] | None = None,
        *,
        settled: bool = False,
    ) -> None:
        """Release the poll lock if `hold` has it, and have what is left served.

        The next waiting thread serves it, else the poller, which `again` tells
        (`poll_soon` by default). While something is unsettled it is the poller, and the
        worker that settles it wakes the next waiting thread. `settled`: the caller has
        looked, and nothing is left.
        The look at the client comes before the release: later it may be closed.
        """
        try:
            if not settled and self.poll_lock.held_by(hold):
                settled = self.check_quiet()
        finally:
            # Also when a signal handler raises: no other thread could serve.
            released = self.poll_lock.release(hold)
        if released:
            self.poll_lock.run_jobs()
            woken = not self.unsettled and self.poll_lock.wake_next()
            if not woken and not settled:
                (again or self.poll_soon)(self)

    def when_not_polled(self, job: Callable[[], None]) -> None:
        """Run `job` as soon as no thread polls, at once if none does.

        `stop_polling` releases and then looks for jobs; this adds the job and then
        tries the lock. One of the two sees the other, and `pop` decides.
        """
        self.poll_lock.add_job(job)
        hold = Hold()
        try:
            self.poll_lock.take(hold)
        finally:
            self.stop_polling(hold)

    def pass_on_polling(self) -> None:
        """Wake the next waiting thread, or the poller: this one will not poll."""
        if not self.poll_lock.wake_next() and self.native is not None:
            self.poll_soon(self)

    def check_quiet(self) -> bool:
        """Mark the client quiet if nothing is in flight; whether it is quiet.

        1. Sender S reads `quiet` as False, and is stopped.
        2. The poller finds nothing in flight and sets the mark.
        3. S produces, and no thread would serve its report.
        So the mark comes first and a second look follows. S has added to `borrows`
        before it read `quiet`, and its message counts in `len(native)` afterwards: the
        second look sees one of them (test_quiet_is_taken_back_when_a_send_meets_it).
        """
        if self.native is None:  # destroyed: no thread comes to it any more
            return not self.unsettled
        if self.busy():
            self.quiet = False
            return False
        self.quiet = True
        if self.busy():
            self.quiet = False
            return False
        if self.counters_uncertain or (self.reports.foreign and self.in_flight()):
            self.reports.reconcile(self)
        if self.refusals and self.on_settled is not None:
            self.on_settled()
        return True

    def resume(self) -> None:
        """A message follows shortly after the last report, on a client that a thread
        attends. So its idle time is not checked, and the poller not told.

        1. This ends the quiet, and the message is sent.
        2. The thread that attends the client stops, and then looks whether it is quiet
           (test_a_message_that_comes_as_the_thread_stops).
        """
        self.quiet = False

    def busy(self) -> bool:
        """Whether a send is in progress, or anything is in flight or unsettled."""
        if self.borrows or self.unsettled:
            return True
        native = self.native
        return native is not None and len(native) > 0

    def use(self, now: float) -> None:
        """Count as activity that a message or a transaction comes: the gap ends `now`.

        Several threads may end one gap, and each reads where it began before it writes.
        So each adds the same gap, which counts once, and `gap_since` is written last
        (test_a_gap_that_many_threads_end_counts_once).
        """
        self._end_gap(now)
        self.last_activity = now
        self.gap_since = None

    def connected(self, asked: float) -> None:
        """Count as activity that the cluster has answered `connect()`.

        `asked` is when that was called, in seconds on the clock: the gap ended then.
        """
        self._end_gap(asked)
        self.touch()
        self.gap_since = None
        self.note_served(clock.system_now())

    def _end_gap(self, now: float) -> None:
        since = self.gap_since
        if since is None:
            since = self.last_activity
        if now - since >= SHORTEST_GAP and self.tally is not None:
            self.tally.add_gap(since, now)

    def touch(self) -> None:
        """Count what the caller does as activity: the idle time begins anew."""
        self.last_activity = clock.now()

    def opened(self, on_settled: Callable[[], None], *, limited: bool) -> None:
        """Prepare it for its producer. `on_settled` is called when nothing is in flight
        and a close was refused; `limited`: it may fall due."""
        self.on_settled = on_settled
        self.deadline_noted = not limited
        self.refresh()

    def refresh(self) -> None:
        """Look again at whether others than their handles hear of reports.

        Two threads may be here at once, and the one with the older answer may be
        the last to write; so each looks again after its write.
        """
        while self.unobserved != (unobserved := self.reports.unobserved):
            self.unobserved = unobserved

    def observe_reports(self) -> None:
        """Have every report settled by `Settling` from now on."""
        self.unobserved = False

    def note_deadline(self) -> None:
        """The reaper knows when the client falls due, or it never does."""
        self.deadline_noted = True

    def drop_native(self) -> None:
        """Forget the native client: it is destroyed, or another process's."""
        self.native = self.produce = None

    def opened_native(self) -> KafkaClient:
        """The native client, for a caller that keeps no reference to it.

        A local variable would stay in the traceback of what is raised, and keep alive a
        client that is destroyed by dropping it.
        """
        if self.native is None:
            raise ProduceError(
                "the client was replaced by another thread; begin again (state)",
                code="state",
                retriable=True,
            )
        return self.native

    def users_in_flight(self) -> int:
        """Messages that users of the bare client have on their way. Client alive."""
        if not self.pins.ever or self.native is None:
            return 0
        return max(0, len(self.native) - self.in_flight())

    def __repr__(self) -> str:
        return f"<Client quiet={self.quiet} in_flight={self.in_flight()}>"
