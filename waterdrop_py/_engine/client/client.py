"""One librdkafka client, from its opening to its close."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.borrow_marks import ends_step
from waterdrop_py._engine.client.counters import MessageCounters
from waterdrop_py._engine.client.fatal import Fatal, Registration
from waterdrop_py._engine.client.foreign import has_answered
from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py._engine.client.kafka_errors import code_name
from waterdrop_py._engine.client.metadata_asking import MetadataAsking
from waterdrop_py._engine.client.pins import Pins
from waterdrop_py._engine.client.poll_lock import PollLock
from waterdrop_py._engine.client.transaction_state import TransactionState
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.call_marks import poller
from waterdrop_py._engine.concurrency.contained import from_signal_handler
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.concurrency.locks import Ticket
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.report_sink import ReportSink
    from waterdrop_py._engine.client.watchers import Pending
    from waterdrop_py.typing import KafkaClient

SLICE: Final = 0.15
"""Seconds of one native poll. Below the 0.2 s from which on confluent-kafka goes
on polling after it served a report; and what a Ctrl-C waits for at the most."""


class Client(MessageCounters):
    """What is known of one client, and the only way to it.

    No lock. A sender leaves a mark in `borrows`, looks again whether the life is
    still its slot's, and only then touches `client`; whoever retires the life
    takes it out of the slot first and looks at `borrows` then, so one of the two
    sees the other. Reports are served by whoever holds `poll_lock`, one thread at a
    time, which is why the counters of reports need no lock either.

    Attributes:
        quiet: nothing is un-acknowledged and nobody serves it often; the next
            send looks at the age, and sees to it that its report is served.
        pins: callers that use the client itself.
        unobserved: a successful report concerns nobody but its handle.
        noted: the reaper was told of it, so its deadline is kept.
        last_activity: seconds on the clock, written by whoever serves reports.
        reached: a broker has answered, as far as was noted by who serves reports.
        arrived: what librdkafka has called back with, in its order, until `drain` has
            settled it: (handle, error, message) for a report, (handle, None, None) for
            what watches a handle that has its outcome, and (None, function, argument)
            for any other callback.
        telling: what is being said of the report in front.
        transaction: which one it is in.
        registration: what a transactional client registers.
        fatal: the error that has ended the client, once it is known.
        blocked: of the stand-in for a client that a deferred message has: whether
            the calling thread is what it waits for.
        answers_before: the answers of brokers that the clients before it had.
        asking: its requests for metadata.
        between: who has the turn is between two polls, and not inside one.
    """

    __slots__ = (
        "__weakref__",
        "answers_before",
        "arrived",
        "asking",
        "between",
        "blocked",
        "borrows",
        "fatal",
        "last_activity",
        "native",
        "noted",
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
        "registration",
        "reports",
        "statistics",
        "telling",
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
        self.telling: Any = None
        self.poll_soon = poll_soon
        self.between = False
        self.asking = MetadataAsking()
        self.transaction = TransactionState()
        self.on_settled: Callable[[], None] | None = None
        # A deque: a list gives its memory back with the last mark, and takes it anew
        # with the next, which is a tenth of what the library does for a message.
        self.borrows: deque[None] = deque()
        self.poll_lock = PollLock()
        self.quiet = True
        self.reached = False
        self.unobserved = False
        self.statistics = False
        self.noted = False
        self.opened_at = self.last_activity = clock.now()
        self.poll_at = self.progress_at = 0.0
        self.answers_before = 0
        self.fatal: Fatal | None = None
        self.registration: Registration | None = None
        self.refusals: set[str] = set()
        self.pins = Pins()
        self.blocked: Callable[[], bool] | None = None

    def polled_by_this_thread(self) -> bool:
        """Whether this thread is inside a poll of this client, further down."""
        return self.poll_lock.held_here

    # -- reports -----------------------------------------------------------

    def serve(self, timeout: float) -> None:
        """Serve reports and callbacks for at most `timeout` seconds. Turn held."""
        if self.native is not None:
            self.serve_with(self.native.poll, timeout)
            if not self.reached and not self.quiet:
                # Turn held: see `has_answered`.
                self.reached = self.acknowledged > 0 or has_answered(self.native)
        elif self.arrived:
            self.drain()

    def serve_with(self, native: Callable[[float], object], timeout: float) -> None:
        """The same, by another native call that serves them."""
        try:
            self.run(native, timeout)
        except KafkaException as error:
            if from_signal_handler(error):
                raise
            self.reports.poll_raised(self, error)

    @poller
    def run(self, native: Callable[[float], object], timeout: float) -> None:
        """Make a native call that may call back, and settle what it left. Turn held.

        What an interrupted `drain` left goes first: no report overtakes another one.
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
        """Reports may have been served since there were `before`: that is activity."""
        if self.acknowledged + self.failed != before:
            self.last_activity = clock.now()
            self.progress_at = clock.system_now()
            asking = self.asking
            if self.last_activity >= asking.ask_at and asking.ask is not None:
                asking.ask(self)

    def note_fatal(self, native: Any) -> None:
        """Note the fatal error. The first one that tells more than `_FATAL` stays."""
        known = self.fatal
        if known is None or code_name(known.native) == "fatal":
            self.fatal = Fatal(native, self.registration, self.transaction.age())

    def _resend(self) -> None:
        """Have messages handed over again; here and now where no thread starts."""
        self.between = True
        try:
            self.reports.resending.begin()
        finally:
            self.between = False

    @poller
    def drain(self) -> None:
        """Settle what has arrived, in its order. Turn held.

        A signal handler may raise anywhere in here, and that is not held up by what is
        left. So a report stays in front until it is settled, and the next drain, the
        poller's as a rule, goes on with it.
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
                # A subscriber may have forked, and the child has none of it.
                if arrived and arrived[0] is front:
                    arrived.popleft()

    def remind(self, handle: Pending) -> None:
        """What watches `handle` could not be called in full: the poller goes on."""
        self.arrived.append((handle, None, None))
        self.poll_soon(self)

    def done_callback_raised(self, error: BaseException) -> None:
        """A callback of the user's on a handle raised; nothing else changes."""
        self.reports.callback_raised("done_callback", error)

    @ends_step
    def leave(
        self,
        ticket: Ticket,
        again: Callable[[Client], None] | None = None,
        *,
        settled: bool = False,
    ) -> None:
        """Give the turn back, and see to it that somebody serves what is left.

        `again` is told when that is the poller; it is armed by default. The look
        at the client comes before the release: afterwards it may be closed. `settled`:
        the caller has looked, and nothing is left.
        """
        if not self.poll_lock.held_by(ticket):
            return
        try:
            settled = settled or self.settle()
        finally:
            # Whatever a signal handler raises meanwhile: nobody else could serve.
            self.poll_lock.release(ticket)
        self.poll_lock.run_jobs()
        if not self.poll_lock.wake_next() and not settled:
            (again or self.poll_soon)(self)

    def after_turn(self, job: Callable[[], None]) -> None:
        """Run `job` as soon as nobody polls, now if nobody does.

        `leave` releases and then looks at the jobs, this adds the job and then
        looks at the turn: one of the two sees the other, and `pop` decides.
        """
        self.poll_lock.add_job(job)
        ticket = Ticket()
        try:
            self.poll_lock.take(ticket)
        finally:
            self.leave(ticket)

    def hand_on(self) -> None:
        """Somebody who was woken to serve does not: wake the next, or the poller."""
        if not self.poll_lock.wake_next() and self.native is not None:
            self.poll_soon(self)

    def settle(self) -> bool:
        """Mark the life quiet if nothing is un-acknowledged; whether it is quiet.

        Turn held.

        The mark comes first and the look again second. Sender S reads `quiet`
        False, is stopped; the poller finds nothing and marks; S produces: nobody
        would serve the report. But S left its mark in `borrows` before it read
        `quiet`, and the message counts in `len(client)` after it: the second
        look sees one of the two (test_quiet_is_taken_back_when_a_send_meets_it).
        """
        if self.native is None:  # destroyed, and nobody comes to it any more
            return not self.arrived
        if self.busy():
            self.quiet = False
            return False
        self.quiet = True
        if self.busy():
            self.quiet = False
            return False
        if self.counters_uncertain or (self.reports.foreign and self.in_flight()):
            self._reconcile()
        if self.refusals and self.on_settled is not None:
            self.on_settled()
        return True

    def _reconcile(self) -> None:
        """Count off what an exception of a signal handler left open, and resolve what
        a foreign client never reports. Turn held.

        It may have come between the number of a message and its hand-over. That number
        belongs to no message once none is left that it could be: the numbers are looked
        at first, and then neither a send is in progress nor has the client anything.
        """
        numbered = peek(self.sent)
        open_ = self.reports.open_handles(self) if self.reports.foreign else []
        if self.busy() or self.reports.resending.holds:
            return
        self.counters_uncertain = False
        if open_:
            self.reports.resolve_lost(self, open_)
        self.count_off(numbered)

    def busy(self) -> bool:
        """Whether a send is in progress or anything is un-acknowledged or unsettled."""
        client = self.native
        if self.borrows or self.arrived:
            return True
        return client is not None and len(client) > 0

    def touch(self) -> None:
        """The client is used: its idle time begins anew."""
        self.last_activity = clock.now()

    def opened(self, on_settled: Callable[[], None], *, limited: bool) -> None:
        """Its producer is about to use it. `on_settled` is called when nothing is in
        flight, after a close was refused; `limited`: it may fall due."""
        self.on_settled = on_settled
        self.noted = not limited
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
        self.noted = True

    def drop_native(self) -> None:
        """The native client is destroyed, or is not this process's to use."""
        self.native = self.produce = None

    def opened_native(self) -> KafkaClient:
        """The client, for a caller that keeps no reference to it.

        A local variable would live on in the traceback of whatever is raised, and with
        it a client that is destroyed by dropping it.
        """
        if self.native is None:
            raise ProduceError(
                "the client was replaced by another thread; begin again (state)",
                code="state",
                retriable=True,
            )
        return self.native

    # -- figures -----------------------------------------------------------

    def theirs(self) -> int:
        """What users of the bare client have on their way. Client alive."""
        if not self.pins.ever or self.native is None:
            return 0
        return max(0, len(self.native) - self.in_flight())

    def __repr__(self) -> str:
        return f"<Life quiet={self.quiet} in_flight={self.in_flight()}>"
