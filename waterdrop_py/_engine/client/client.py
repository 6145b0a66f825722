"""`Client`: one librdkafka client, how it is polled, and how reports are settled."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.counters import MessageCounters
from waterdrop_py._engine.client.fatal import Fatal
from waterdrop_py._engine.client.foreign import has_answered
from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py._engine.client.kafka_errors import code_name
from waterdrop_py._engine.client.metadata_asking import MetadataAsking
from waterdrop_py._engine.client.pins import Pins
from waterdrop_py._engine.client.poll_lock import PollLock
from waterdrop_py._engine.client.transaction_state import TransactionState
from waterdrop_py._engine.concurrency import clock, signals
from waterdrop_py._engine.concurrency.call_marks import poller
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.report_sink import ReportSink
    from waterdrop_py._engine.client.watchers import Pending
    from waterdrop_py.typing import KafkaClient


class Client(MessageCounters):
    """What is known of one librdkafka client, and the only way to it. Without a lock.

    A sender appends to `borrows`, looks again whether this is still the connection's
    client, and only then produces. A disconnect takes the client out of the connection
    first and looks at `borrows` second, so one of the two sees the other. The thread
    that holds `poll_lock` serves the reports.

    Attributes:
        quiet: nothing is in flight, and the poller seldom looks. The next send checks
            how long the client was idle, and has the poller serve its report.
        unobserved: a successful report concerns its handle alone.
        deadline_noted: the reaper knows when the client falls due.
        last_activity: seconds on the clock, written by the thread that serves reports.
        reached: a broker has answered.
        arrived: what librdkafka has called back with, in its order, until `drain` has
            settled it: (handle, error, message) for a report, (handle, None, None) for
            what watches a handle that has its outcome, and (None, function, argument)
            for any other callback.
        announcement: how far the report in front is announced.
        fatal: the error that has ended the client, once it is known.
        refusals: the reasons for which a due close was refused.
        between_polls: the thread that polls is between two native polls.
    """

    __slots__ = (
        "__weakref__",
        "announcement",
        "answers_before",
        "arrived",
        "asking",
        "between_polls",
        "borrows",
        "deadline_noted",
        "fatal",
        "last_activity",
        "native",
        "on_settled",
        "opened_at",
        "pins",
        "poll_at",
        "poll_lock",
        "poll_soon",
        "produce",
        "progress_at",
        "quiet",
        "reached",
        "refusals",
        "reports",
        "statistics",
        "transaction",
        "unobserved",
    )

    def __init__(
        self, reports: ReportSink[Client], poll_soon: Callable[[Client], None]
    ) -> None:
        super().__init__()
        self.native: KafkaClient | None = None
        self.produce: Callable[..., None] | None = None
        self.reports = reports
        self.arrived: deque[tuple[Any, Any, Any]] = deque()
        self.announcement: Any = None
        self.poll_soon = poll_soon
        self.between_polls = False
        self.asking = MetadataAsking()
        self.transaction = TransactionState()
        self.on_settled: Callable[[], None] | None = None
        # A deque: a list frees its memory with its last mark and allocates it with the
        # next one, which is a tenth of the library's work for a message.
        self.borrows: deque[None] = deque()
        self.poll_lock = PollLock()
        self.quiet = True
        self.reached = False
        self.unobserved = False
        self.statistics = False
        self.deadline_noted = False
        self.opened_at = self.last_activity = clock.now()
        self.poll_at = self.progress_at = 0.0
        self.answers_before = 0
        self.fatal: Fatal | None = None
        self.refusals: set[str] = set()
        self.pins = Pins()

    def serve(self, timeout: float) -> None:
        """Serve reports and callbacks for at most `timeout` seconds. Poll lock held."""
        if self.native is not None:
            self.serve_with(self.native.poll, timeout)
            if not self.reached and not self.quiet:
                self.reached = self.acknowledged > 0 or has_answered(self.native)
        elif self.arrived:
            self.drain()

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

        What an interrupted `drain` has left goes first, so reports keep their order.
        """
        before = self.acknowledged + self.failed
        try:
            if self.arrived:
                self.drain()
            try:
                native(timeout)
            except BaseException as error:
                self.counters_uncertain = True
                raise_interruption(error)
                raise
            finally:
                if self.arrived:
                    self.drain()
        finally:
            if self.reports.resending.waiting:
                self._resend()
            self.note_reports(before)

    def note_reports(self, before: int) -> None:
        """Count as activity that there are more outcomes than `before`."""
        if self.acknowledged + self.failed != before:
            self.last_activity = clock.now()
            self.progress_at = clock.system_now()
            asking = self.asking
            if self.last_activity >= asking.ask_at and asking.ask is not None:
                asking.ask(self)

    def note_fatal(self, native: Any) -> None:
        """Note the fatal error; the first one that says more than `_FATAL` stays."""
        known = self.fatal
        if known is None or code_name(known.native) == "fatal":
            transaction = self.transaction
            self.fatal = Fatal(native, transaction.registration, transaction.age())

    def _resend(self) -> None:
        """Have messages produced again; at once where no thread starts."""
        self.between_polls = True
        try:
            self.reports.resending.begin()
        finally:
            self.between_polls = False

    @poller
    def drain(self) -> None:
        """Settle what has arrived, in its order.

        A signal handler may raise anywhere in here, and its exception comes out at
        once. So a report stays in front until it is settled, and the next drain, as a
        rule the poller's, goes on with it.
        """
        arrived, notify = self.arrived, watchers.notify
        while arrived:
            front = arrived[0]
            handle, first, second = front
            if handle is None:
                arrived.popleft()
                first(second)
            else:
                if first is second:
                    notify(self, handle)
                else:
                    self.reports.settle(self, handle, first, second)
                # A subscriber may have forked: the child has nothing to settle.
                if arrived and arrived[0] is front:
                    arrived.popleft()

    def notify_later(self, handle: Pending) -> None:
        """Have the poller call what watches `handle`: it was interrupted."""
        self.arrived.append((handle, None, None))
        self.poll_soon(self)

    def done_callback_raised(self, error: BaseException) -> None:
        """Report what a user's callback of a handle raised."""
        self.reports.callback_raised("done_callback", error)

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
        (`poll_soon` by default). `settled`: the caller has looked, and nothing is left.
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
            if not self.poll_lock.wake_next() and not settled:
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
            return not self.arrived
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

    def busy(self) -> bool:
        """Whether a send is in progress, or anything is in flight or unsettled."""
        if self.borrows or self.arrived:
            return True
        native = self.native
        return native is not None and len(native) > 0

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
        """Have every report settled by `drain` from now on."""
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
