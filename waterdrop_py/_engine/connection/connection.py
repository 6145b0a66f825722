"""`Connection`: at most one open client, and every step from and to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.borrow_marks import ends_step
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.kafka_errors import produce_error, refusal_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Claim, Ticket
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py._engine.connection import brokers
from waterdrop_py._engine.connection.ledger import Ledger
from waterdrop_py._engine.connection.partitions import Partitions
from waterdrop_py._engine.connection.resending import Resending
from waterdrop_py._engine.connection.states import (
    MOVES,
    ConnectionState,
    Status,
    derive_status,
)
from waterdrop_py._engine.connection.teardown import (
    Teardown,
    TeardownBatch,
    destroy_unready,
)
from waterdrop_py._engine.reports.giving_up import GIVE_UP, give_up
from waterdrop_py._engine.reports.handler import ReportHandler
from waterdrop_py._engine.shutdown import late
from waterdrop_py._engine.shutdown.close import Shutdown
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    ProducerClosedError,
    ReentrantCallError,
    WaterdropError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.factory import Factory
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.process.runtime import Runtime
    from waterdrop_py._engine.reports.accounting import Placed

_RECHECK: Final = 0.5
_BY_AGE: Final = frozenset({"idle", "age", "stale"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a client may not be closed now; a reason of `IdleReport`."""

    code: str
    count: int = 1
    age_ms: float | None = None
    owner: str | None = None


class BeforeClose(Protocol):
    """What is to happen before a producer closes."""

    def __call__(self, deadline: float, *, force: bool) -> list[Placed]:
        """Send what still is to be sent; what could not be is returned."""


class Disconnection(NamedTuple):
    """What became of an attempt to let go of the client."""

    teardown: Teardown | None
    refusals: list[Refusal]


def _no_life() -> Client:
    client = Client(None, lambda _: None)  # type: ignore[arg-type]
    client.native = client.produce = None
    return client


def _always(_client: Client, _code: str) -> bool:
    """Without a policy of reloads a fatal error stays."""
    return True


NO_CLIENT: Final = _no_life()
"""What a slot without a client holds: quiet, so that every send takes the long way."""


class Connection:
    """Where a producer's client lives. Thread-safe, re-entrant, fork-aware.

    `_claim` is the lifecycle lock: it protects `state`, and with it who may open
    or let go of a client. It is only ever tried; who finds it taken hangs up a
    bell and waits, unless its own thread has it further down the stack.

    Senders do not take it. They mark `client.borrows`, look again at
    `connection.client`, and produce. Disconnecting publishes NO_CLIENT first and
    looks at `borrows` second, and puts the client back when it is borrowed. Of a sender
    and a disconnect at the same moment, one sees the other
    (test_send_between_the_look_and_the_close).

    Attributes:
        partitions: what is known of the topics' partitions; it outlives the clients.
        topic: the topic of the last message that did not take the fast path.
    """

    __slots__ = (
        "__weakref__",
        "_claim",
        "_deferred",
        "_wakeups",
        "before_close",
        "by_exit",
        "client",
        "close_before_fork",
        "close_timeout",
        "emitter",
        "factory",
        "fatal_client",
        "holds",
        "idle_timeout",
        "inside",
        "is_final",
        "late_budget",
        "late_saying",
        "ledger",
        "max_age",
        "partitions",
        "prepare",
        "reports",
        "resets",
        "runtime",
        "shutdown",
        "state",
        "teardown",
        "topic",
    )

    def __init__(  # noqa: PLR0913 - the engine's parts, and four settings
        self,
        runtime: Runtime,
        factory: Factory,
        emitter: Emitter,
        *,
        idle_timeout: float,
        max_age: float,
        close_timeout: float,
        close_before_fork: float | None,
    ) -> None:
        self.runtime = runtime
        self.factory = factory
        self.emitter = emitter
        self.idle_timeout = idle_timeout
        self.max_age = max_age
        self.close_timeout = close_timeout
        self.close_before_fork = close_before_fork
        self.client = NO_CLIENT
        self.state = ConnectionState.EMPTY
        self.teardown: Teardown | None = None
        self.fatal_client: Client | None = None
        self.reports = self._new_desk()
        self.ledger = Ledger()
        self.partitions = Partitions()
        self.topic: str | None = None
        self.shutdown: Shutdown | None = None
        # Closed by the exit handler and not by the user, so that what later handlers
        # send may open it again; and how many seconds those may take in all.
        self.by_exit = False
        self.late_budget = close_timeout
        self.late_saying = False
        # What stands against a close beyond the client, and what a client needs
        # before its first use: messages and transactions are not the slot's.
        self.holds: list[Callable[[], Refusal | None]] = []
        self.prepare: Callable[[Client, float | None], None] | None = None
        self.inside: Callable[[], bool] | None = None
        self.is_final: Callable[[Client, str], bool] = _always
        self.before_close: BeforeClose | None = None
        self.resets: list[Callable[[], None]] = []
        self._claim = Claim()
        self._wakeups: list[Wakeup] = []
        self._deferred: list[Callable[[], None]] = []

    def _new_desk(self) -> ReportHandler:
        factory = self.factory
        desk = ReportHandler(self.emitter, factory.servers, factory.on_delivery)
        desk.resending = Resending(self)
        return desk

    # -- what it is --------------------------------------------------------

    @property
    def status(self) -> Status:
        """The public status, derived. Takes no lock."""
        check()
        return derive_status(
            self.state, opened=self.ledger.opens > 0, teardown=self.teardown is not None
        )

    @property
    def known(self) -> Client | None:
        """The open client, also at the instant at which it is judged, when it is out
        of the slot (test_a_client_that_is_judged_is_connected). For what is said of
        the producer, and not for sends."""
        client = self.client
        if client is not NO_CLIENT:
            return client
        return self.ledger.book[1] if self.state is ConnectionState.OPEN else None

    @property
    def mine(self) -> bool:
        """Whether this thread is inside a step of this slot, further down."""
        return self._claim.mine and not self._claim.heal()

    def learn(self, client: Client, topic: str, answer: Any, *, wanted: bool) -> None:
        """Keep what the cluster answered to `client` about a topic, and of itself.

        `wanted`: a caller asked for it. Else the number of partitions is kept only
        where one is known: most producers never need any, and it takes 0.3 KB.
        """
        if wanted or self.partitions.count(topic) is not None:
            self.partitions.learn(topic, answer)
        brokers.note(self, client, answer)

    def refresh(self) -> None:
        """Somebody subscribed or left: look again at who wants to hear of reports.

        Two threads may be here at once, and the one with the older answer may be
        the last to write; so each looks again after its write.
        """
        self.reports.refresh()
        client = self.client
        while client is not NO_CLIENT and client.unobserved != (
            plain := self.reports.unobserved
        ):
            client.unobserved = plain

    # -- opening -----------------------------------------------------------

    def ready(self, deadline: float | None) -> Client:
        """`open`, and have the deadline of the client noted."""
        try:
            return self.open(deadline)
        finally:
            if self.unnoted:
                self.reschedule()

    def open(self, deadline: float | None) -> Client:
        """The open client's life, opened if need be. Mark `borrows`, and look again.

        The caller sees to `introduce` whatever is raised. That may start threads, and
        comes behind the message: one that meets librdkafka between its first connect
        and its first metadata waits 50 ms (half of reconnect.backoff.ms) for the next
        look.

        A client that has been idle, or open, for too long is replaced here, for
        the case that the reaper was late or the process was suspended.

        Raises:
            ProducerClosedError, ReentrantCallError, DeliveryTimeoutError (another
            thread's open took longer than `deadline`); ProduceError (librdkafka could
            not start, or a fatal error stays); or what a client factory raised.
        """
        check()
        while True:
            client = self.client
            if client.fatal is not None:
                self.lose_if_final(client)
            self.refuse_lost()
            if client is not NO_CLIENT:
                reason = self._expired(client)
                if reason is None or self.disconnect(reason).refusals:
                    return client
                continue
            self.refuse_closed()
            ticket = Ticket()
            try:
                if self._claim.take(ticket):
                    if self.state is ConnectionState.EMPTY:
                        return self._open(deadline)
                    continue
            finally:
                self._release(ticket)
            self._wait_for_claim(deadline)

    def _expired(self, client: Client) -> str | None:
        if not client.quiet:
            return None
        now = clock.now()
        if 0 < self.idle_timeout <= now - client.last_activity:
            return "stale"
        if 0 < self.max_age <= now - client.opened_at:
            return "age"
        return None

    def _open(self, deadline: float | None) -> Client:
        """Open a client. Claim held; a failed open leaves the slot as it was."""
        reopened = self.ledger.opens > 0
        started = clock.system_now()
        client = Client(self.reports, self.runtime.poller.poll_soon)
        self._move(ConnectionState.OPENING)
        try:
            self.runtime.register(self)
            self.runtime.note_traffic()
            self.emitter.emit("producer.connecting")
            self._construct(client)
            if self.prepare is not None:
                self._make_ready(client, self.prepare, deadline)
            client.on_settled = self.reschedule
            client.unobserved = self.reports.unobserved
            client.noted = self.idle_timeout <= 0 and self.max_age <= 0
            took_ms = (clock.system_now() - started) * 1000
            self.ledger.opened(client, took_ms)
            # The mark keeps the client while `connected` is told of, so that nobody
            # hears of its end before its beginning.
            client.borrows.append(None)
            self._move(ConnectionState.OPEN)
            self.client = client
        except BaseException:
            self._give_up(client)
            raise
        try:
            self.refresh()
            self.runtime.note_traffic()
            self.emitter.emit(
                "producer.connected", {"reopened": reopened}, duration_ms=took_ms
            )
        finally:
            client.borrows.pop()
        return client

    def _give_up(self, client: Client) -> None:
        """The opening failed. What there is of a client is destroyed here and now.

        Else the garbage collector would, and what a signal handler raises meanwhile
        would come out of no verb (test_handler_that_raises).
        """
        try:
            if client.native is not None:
                destroy_unready(client)
        finally:
            self._move(ConnectionState.EMPTY)

    def _construct(self, client: Client) -> None:
        try:
            self.runtime.open(self.factory, client, self.reports)
            brokers.watch(self, client)
        except KafkaException as error:
            raise produce_error(
                refusal_of(error),
                subject="the client could not be opened; nothing was sent: ",
                checklist=self.reports.checklist(),
            ) from error

    def _make_ready(
        self,
        client: Client,
        prepare: Callable[[Client, float | None], None],
        deadline: float | None,
    ) -> None:
        """A client that cannot be made ready is closed, and leaves nothing behind.

        The poller may serve it by now: a close waits for the turn, as any other does.
        """
        try:
            prepare(client, deadline)
        except BaseException:
            destroy_unready(client)
            self.runtime.note_traffic()
            raise

    # -- letting go --------------------------------------------------------

    def disconnect(
        self, reason: str, batch: TeardownBatch | None = None
    ) -> Disconnection:
        """Let go of the client and have it closed, if that is safe; else say why not.

        Returns at once, while the close is under way.
        """
        check()
        client = self.client
        if client is NO_CLIENT:
            code = "closed" if self._ended else "not_connected"
            return Disconnection(None, [Refusal(code, 0)])
        self._poll_before_judging(client)
        retirement = self._let_go(client, reason, batch)
        teardown = retirement.teardown
        if teardown is None:
            if batch is None or batch.silent:
                # The reaper may have looked while the life was out of the slot, and
                # forgotten it. Its own attempts end in a look of theirs.
                # (test_a_disconnect_that_is_refused_as_the_client_is_made_known)
                self.reschedule()
            return retirement
        try:
            self.reschedule()
            if batch is None or not batch.silent:
                self.emitter.emit("producer.disconnecting", {"reason": reason})
        finally:
            teardown.begin()  # whatever a subscriber raises, the client is let go of
        return retirement

    def _let_go(
        self, client: Client, reason: str, batch: TeardownBatch | None
    ) -> Disconnection:
        ticket = Ticket()
        try:
            taken = self._claim.take(ticket) or (
                self._claim.heal() and self._claim.take(ticket)
            )
            if not taken or self.client is not client:
                return Disconnection(None, [Refusal("call")])
            refusals = self._detach(client, reason)
            if refusals:
                return Disconnection(None, refusals)
            teardown = Teardown(self, client, reason, batch)
            self.ledger.closed(client, reason)
            self.teardown = teardown
            self.lose_if_final(client)
            self._move(ConnectionState.EMPTY)
            return Disconnection(teardown, [])
        finally:
            if self._claim.held_by(ticket) and self.client is NO_CLIENT:
                self._put_back_if_torn(client)
            self._release(ticket)

    def _put_back_if_torn(self, client: Client) -> None:
        """A signal handler raised while the life was out: nothing has happened.

        Without the life, and not EMPTY, every send would look for it for ever.
        """
        if self.state is ConnectionState.OPEN:
            if self.teardown is not None and self.teardown.client is client:
                self.teardown = None
            self.client = client

    def _detach(self, client: Client, reason: str) -> list[Refusal]:
        """Take the life out of the slot; put it back when that is not safe.

        Sender S has read `self.client`, and is stopped before its mark. Publishing
        NO_LIFE first means that S, going on, finds its life replaced and turns to
        the next client; had S marked before, the look at `borrows` sees the mark.
        """
        self.client = NO_CLIENT
        refusals = self.blockers(client)
        # The claim is held, so nobody else can have the client destroyed meanwhile.
        if not refusals and (theirs := client.theirs()):
            refusals.append(Refusal("in_flight", theirs))
        if not refusals and reason in _BY_AGE and self._premature(client, reason):
            refusals.append(Refusal("not_due", 0))
        if refusals:
            self.client = client
            self.refresh()
        return refusals

    def _premature(self, client: Client, reason: str) -> bool:
        """Whether a report has come since the client was found due.

        It may have been waiting for this very look: what is served before a client
        is judged is activity too (test_report_served_by_the_reaper_is_activity).
        """
        if reason == "age":
            return clock.now() - client.opened_at < self.max_age
        return clock.now() - client.last_activity < self.idle_timeout

    def discard(self, client: Client) -> None:
        """Let go of a client that a fatal error has ended, whatever it still has.

        Its messages get their outcomes: what librdkafka says, or that they were given
        up. Blocks for a second at most, and for a close that is still in progress.
        """
        earlier = self.teardown
        if earlier is not None:
            earlier.wait(self.close_timeout)
        teardown = self._let_go_of(client)
        if teardown is None:
            return
        try:
            self.emitter.emit("producer.disconnecting", {"reason": "reload"})
            give_up(client, clock.system_now() + GIVE_UP)
        finally:
            teardown.begin()
        if not client.pins:  # whoever uses the client itself may be this very thread
            teardown.wait(self.close_timeout)

    def _let_go_of(self, client: Client) -> Teardown | None:
        ticket = Ticket()
        while self.client is client:
            try:
                if self._claim.take(ticket) and self.client is client:
                    self.client = NO_CLIENT
                    teardown = Teardown(self, client, "reload")
                    self.ledger.closed(client, "reload")
                    self.teardown = teardown
                    self._move(ConnectionState.EMPTY)
                    return teardown
            finally:
                self._release(ticket)
            ticket = Ticket()
            self._wait_for_claim(None)
        return None

    def blockers(self, client: Client) -> list[Refusal]:
        """Why this client may not be closed now.

        Judged by the counters of reports, not by `len(client)`: that counts events
        too, which are no reason, and may not be asked while a client is destroyed.
        """
        refusals = []
        # Marks first, messages second: a sender that takes its mark away between
        # the two looks has its message counted by then.
        calls = len(client.borrows) + client.awaited()
        if waiting := client.in_flight():
            age_ms = (clock.now() - client.last_activity) * 1000
            refusals.append(Refusal("in_flight", waiting, age_ms))
        teardown = self.teardown
        if teardown is not None:
            teardown.nudge()
        if calls or teardown is not None:
            refusals.append(Refusal("call", max(1, calls)))
        if pins := tuple(client.pins):
            age_ms = (clock.now() - pins[0].since) * 1000
            refusals.append(Refusal("pinned", len(pins), age_ms, pins[0].owner))
        held = [hold() for hold in self.holds]
        refusals += [each for each in held if each is not None]
        return refusals

    def _poll_before_judging(self, client: Client) -> None:
        """Serve what has arrived: reports that nobody has polled count as in flight."""
        for _ in range(3):
            ticket = Ticket()
            try:
                if not client.poll_lock.take(ticket):
                    return
                if client.native is None or not (client.arrived or len(client.native)):
                    return
                client.serve(0.0)
            finally:
                client.leave(ticket)

    def released(self, teardown: Teardown) -> None:
        """The client of `teardown` is destroyed, or given up."""
        if self.teardown is teardown:
            self.teardown = None
        if teardown.reason != "reload":
            self.lose_if_final(teardown.client)
        self.runtime.note_traffic()
        self._ring()
        self.reschedule()

    # -- a fatal error that stays ------------------------------------------

    def lose(self, client: Client) -> None:
        """Refuse every verb from now on with the fatal error of `client`.

        A new client would register the transactional.id anew: a fenced producer would
        fence the one that took over (test_a_fenced_producer_stays_fenced).
        """
        if self.fatal_client is None and client.fatal is not None:
            self.fatal_client = client

    def lose_if_final(self, client: Client) -> None:
        """`lose`, where the reload policy leaves the client lost."""
        if client.fatal is not None and self.is_final(client, client.fatal.code):
            self.lose(client)

    def refuse_lost(self) -> None:
        """Raise the `ProduceError` of a fatal error that stays."""
        lost = self.fatal_client
        if lost is not None and lost.fatal is not None:
            self.refuse_closed()
            raise lost.fatal.error()

    # -- idleness ----------------------------------------------------------

    def due_at(self) -> float | None:
        """When the client falls due, in seconds on the clock; None when it cannot."""
        client = self.client
        return None if client is NO_CLIENT else self.due_of(client)

    def due_of(self, client: Client) -> float | None:
        """The same for a client that need not be in the slot just now."""
        deadlines = []
        if self.idle_timeout > 0:
            deadlines.append(client.last_activity + self.idle_timeout)
        if self.max_age > 0:
            deadlines.append(client.opened_at + self.max_age)
        return min(deadlines, default=None)

    @property
    def unnoted(self) -> bool:
        """Whether the reaper has not been told of the open client.

        Asked of the ledger: whoever is just trying to let go of the client has taken
        it out of the slot, and may put it back.
        """
        client = self.ledger.book[1]
        return client is not None and not client.noted

    def introduce(self) -> None:
        """Have the deadline of a new client noted, by the poller: its thread is needed
        anyway, and starts the reaper's where nobody waits for that.

        As with `reschedule`, whatever a signal handler raises meanwhile. Where no
        thread can run, what was sent is delivered here.
        """
        if self.runtime.without_threads:
            late.deliver(self)
        elif self.unnoted:
            try:
                self.runtime.poller.do(self.reschedule)
            except BaseException:
                self.runtime.poller.do(self.reschedule)
                raise

    def reschedule(self) -> None:
        """The deadline, or what stood against it, has changed.

        Noted whatever a signal handler raises meanwhile, and twice does no harm: nobody
        else may ever say so (test_a_handler_that_raises_as_a_client_is_opened).
        """
        client = self.client  # the reaper sees this one, or a later one
        if self.idle_timeout > 0 or self.max_age > 0:
            try:
                self.runtime.reaper.look_at(self)
            except BaseException:
                self.runtime.reaper.look_at(self)
                raise
        client.noted = True

    def restart_deadline(self) -> None:
        """It was active since: what refused the last close may be said again."""
        self.client.refusals.clear()

    def disconnect_if_due(self, batch: TeardownBatch) -> None:
        """Close the client, which is due, or say once for each reason why not."""
        client = self.client
        due = self.due_at()
        now = clock.now()
        if due is None or due > now:
            batch.skip()
            self.reschedule()
            return
        idle = 0 < self.idle_timeout <= now - client.last_activity
        refusals = self.disconnect("idle" if idle else "age", batch).refusals
        if not refusals:
            return
        batch.skip()
        for refusal in refusals:
            if refusal.code in client.refusals or refusal.code == "not_due":
                continue
            client.refusals.add(refusal.code)
            self.emitter.emit(
                "producer.disconnect_refused",
                {
                    "reason": refusal.code,
                    "count": refusal.count,
                    "age_ms": refusal.age_ms,
                    "owner": refusal.owner,
                },
            )
        # What refused may have ended between the look and the note of it, and then
        # nobody else will say so (test_refusal_that_ends_while_it_is_noted). What users
        # of the bare client have on their way is not seen here: the poller serves it,
        # and says so (test_a_message_of_native_is_waited_for_without_looking).
        if not self.blockers(client) and (client.quiet or not client.pinned):
            self.reschedule()

    # -- the end -----------------------------------------------------------

    def begin_closing(self, deadline: float) -> Shutdown | None:
        """Take the client from the senders; from here on they are refused.

        None when the claim cannot be had before `deadline`, or is held by this
        very thread, further down.
        """
        while self.shutdown is None:
            ticket = Ticket()
            try:
                if self._claim.take(ticket):
                    if self.shutdown is None:
                        # Each step may be the last before a signal handler raises:
                        # they can be done again, and the ledger knows the life.
                        if not self._ended:
                            self._move(ConnectionState.CLOSING)
                        self.client = NO_CLIENT
                        self.shutdown = Shutdown(self, self.ledger.book[1], deadline)
                    break
            finally:
                self._release(ticket)
            try:
                self._wait_for_claim(deadline)
            except (ReentrantCallError, DeliveryTimeoutError):
                return None
        return self.shutdown

    def clients(self) -> list[Client]:
        """Every client of this slot that is not destroyed yet."""
        found = [self.client, self.ledger.book[1]]
        if self.teardown is not None:
            found.append(self.teardown.client)
        return [
            client for client in found if client is not None and client is not NO_CLIENT
        ]

    def start_afresh(self) -> None:
        """Be as if just made, unless closed: this is a forked child.

        A lost transactional.id stays lost. Without one, the child's own client has a
        producer id of its own, and works.
        """
        self.lose_if_final(self.client)
        if not self.reports.transactional:
            self.fatal_client = None
        self.client = NO_CLIENT
        self.teardown = None
        transactional = self.reports.transactional
        self.reports = self._new_desk()
        self.reports.transactional = transactional
        self._claim = Claim()
        self._wakeups = []
        self._deferred = []
        for reset in self.resets:
            reset()
        if self._ended:
            self.state = ConnectionState.CLOSED
        else:
            self.ledger = Ledger()
            self.state = ConnectionState.EMPTY

    def finish_closing(self) -> None:
        """Everything is destroyed, or given up. Again after a torn close."""
        if self.state is not ConnectionState.CLOSED:
            self._move(ConnectionState.CLOSED)

    def when_free(self, job: Callable[[], None]) -> None:
        """Run `job` when whoever has the claim gives it back, now if nobody has.

        The job is added before the look at the claim, and `_release` gives it back
        before it looks for jobs: one of the two sees the other.
        """
        self._deferred.append(job)
        ticket = Ticket()
        try:
            self._claim.take(ticket)
        finally:
            self._release(ticket)

    # -- the claim ---------------------------------------------------------

    @property
    def _ended(self) -> bool:
        return (
            self.state is ConnectionState.CLOSING
            or self.state is ConnectionState.CLOSED
        )

    def refuse_closed(self) -> None:
        """Raise `ProducerClosedError` from the beginning of the close on.

        A close of the exit handler's is waited for, and the producer opens again.
        """
        check()
        if self._ended and not self._open_again():
            raise ProducerClosedError(
                f"producer {self.emitter.producer_id!r} is {self.status}; nothing "
                "was sent"
            )

    def _open_again(self) -> bool:
        """Whether the exit handler has closed this producer, which is used again."""
        closing = self.shutdown
        if not self.by_exit or closing is None or closing.must_not_wait():
            return False
        closing.wait(clock.system_now() + self.close_timeout)
        ticket = Ticket()
        try:
            if self._claim.take(ticket) and self.state is ConnectionState.CLOSED:
                self.shutdown = self.reports.accounting = None
                for reset in self.resets:
                    reset()
                self.state = ConnectionState.EMPTY  # no move: as in a forked child
        finally:
            self._release(ticket)
        return not self._ended

    def _move(self, state: ConnectionState) -> None:
        """The one place that moves the state. Claim held."""
        if state not in MOVES[self.state]:
            raise WaterdropError(f"a slot cannot go from {self.state} to {state}")
        self.state = state

    @ends_step
    def _release(self, ticket: Ticket) -> None:
        if self._claim.release(ticket):
            self._ring()
            while self._deferred:
                try:
                    job = self._deferred.pop(0)
                except IndexError:
                    return
                job()

    def _ring(self) -> None:
        for wakeup in tuple(self._wakeups):
            wakeup()

    def _wait_for_claim(self, deadline: float | None) -> None:
        """Wait until another thread ends its step of this slot.

        The bell is hung up before the look at the claim, and `_release` gives the
        claim back before it rings: one of the two sees the other.
        """
        if self.mine:
            raise ReentrantCallError(
                "the producer's client is being opened or closed by the call that "
                "this one interrupted, which would have to end first"
            )
        wait = _RECHECK
        if deadline is not None:
            wait = min(wait, deadline - clock.system_now())
            if wait <= 0:
                raise DeliveryTimeoutError(
                    "another thread is still opening the client; nothing was sent",
                    checklist=self.reports.checklist(),
                )
        wakeup = Wakeup()
        try:
            self._wakeups.append(wakeup)
            if self._claim.taken and not wakeup.wait(wait):
                self._claim.heal()
        finally:
            self._wakeups.remove(wakeup)
