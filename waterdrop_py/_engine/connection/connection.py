"""`Connection`: whether a producer has an open client. The state and its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from waterdrop_py._engine.client.borrow_marks import ends_step
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.concurrency.locks import Ticket
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.hooks import Hooks
from waterdrop_py._engine.connection.ledger import Ledger
from waterdrop_py._engine.connection.lifecycle_lock import LifecycleLock
from waterdrop_py._engine.connection.partitions import Partitions
from waterdrop_py._engine.connection.states import (
    MOVES,
    ConnectionState,
    Status,
    derive_status,
)
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.reports.handler import NO_RESENDING, ReportHandler
from waterdrop_py.errors import ProducerClosedError, WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.factory import Factory
    from waterdrop_py._engine.connection.hooks import Closing
    from waterdrop_py._engine.connection.idle_policy import IdlePolicy
    from waterdrop_py._engine.connection.late import LateDelivery
    from waterdrop_py._engine.connection.teardown import Teardown
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.process.runtime import Runtime
    from waterdrop_py._engine.reports.handler import Resending


def _no_client() -> Client:
    client = Client(None, lambda _: None)  # type: ignore[arg-type]
    client.native = client.produce = None
    return client


NO_CLIENT: Final = _no_client()
"""What a connection without a client holds: quiet, so every send takes the long way."""


def every_connection() -> list[Connection]:
    """Every connection alive that has ever opened a client."""
    return cast("list[Connection]", RUNTIME.registered())


def _no_resending(_: Connection) -> Resending:
    return NO_RESENDING


class Connection:
    """Where a producer's client is kept. Thread-safe, re-entrant, fork-aware.

    `lock` protects `state`, and with it who may open or disconnect a client. It is only
    ever tried; a thread that finds it taken waits for a wake-up, unless it has the lock
    itself, further down its stack.

    Senders do not take it. They mark `client.borrows`, look again at
    `connection.client`, and produce. Disconnecting publishes NO_CLIENT first and
    looks at `borrows` second, and puts the client back when it is borrowed. Of a sender
    and a disconnect at the same moment, one sees the other
    (test_send_between_the_look_and_the_close).

    What opens a client is in `opening.py`, what closes one in `disconnecting.py`, the
    end of all in `closing.py`.

    Attributes:
        partitions: what is known of the topics' partitions; it outlives the clients.
        topic: the topic of the last message that did not take the fast path.
        teardown: the close of the client before, while it is in progress.
        fatal_client: the client whose fatal error stays, if there is one.
        shutdown: the close of the producer, from its beginning on.
        late: what is sent where no thread can run.
    """

    __slots__ = (
        "__weakref__",
        "_make_resending",
        "client",
        "close_before_fork",
        "close_timeout",
        "emitter",
        "factory",
        "fatal_client",
        "hooks",
        "late",
        "ledger",
        "lock",
        "partitions",
        "policy",
        "reports",
        "runtime",
        "shutdown",
        "state",
        "teardown",
        "topic",
    )

    def __init__(  # noqa: PLR0913 - the engine's parts, and three settings
        self,
        runtime: Runtime,
        factory: Factory,
        emitter: Emitter,
        *,
        policy: IdlePolicy,
        close_timeout: float,
        close_before_fork: float | None,
        resending: Callable[[Connection], Resending] = _no_resending,
    ) -> None:
        """Times are in seconds. `resending` makes what hands messages over again whose
        partition does not exist."""
        self.runtime = runtime
        self.factory = factory
        self.emitter = emitter
        self.policy = policy
        self.close_timeout = close_timeout
        self.close_before_fork = close_before_fork
        self._make_resending = resending
        self.client = NO_CLIENT
        self.state = ConnectionState.EMPTY
        self.teardown: Teardown | None = None
        self.fatal_client: Client | None = None
        self.hooks = Hooks()
        self.lock = LifecycleLock()
        self.ledger = Ledger()
        self.partitions = Partitions()
        self.reports = self._new_reports()
        self.topic: str | None = None
        self.shutdown: Closing | None = None
        self.late: LateDelivery | None = None

    def _new_reports(self) -> ReportHandler:
        factory = self.factory
        reports = ReportHandler(self.emitter, factory.servers, factory.on_delivery)
        reports.resending = self._make_resending(self)
        return reports

    # -- what it is --------------------------------------------------------

    @property
    def status(self) -> Status:
        """The public status, derived. Takes no lock."""
        check()
        return derive_status(
            self.state, opened=self.ledger.opens > 0, teardown=self.teardown is not None
        )

    @property
    def is_closed(self) -> bool:
        """Whether the producer is closed."""
        return self.status is Status.CLOSED

    @property
    def is_closing(self) -> bool:
        """Whether the producer is closed, or its close has begun."""
        state = self.state
        return state is ConnectionState.CLOSING or state is ConnectionState.CLOSED

    @property
    def known(self) -> Client | None:
        """The open client, also at the instant at which it is judged, when it is out
        of the connection (test_a_client_that_is_judged_is_connected). For what is said
        of the producer, and not for sends."""
        client = self.client
        if client is not NO_CLIENT:
            return client
        return self.ledger.book[1] if self.state is ConnectionState.OPEN else None

    @property
    def mine(self) -> bool:
        """Whether this thread is inside a step of this connection, further down."""
        return self.lock.mine

    def clients(self) -> list[Client]:
        """Every client of this connection that is not destroyed yet."""
        found = [self.client, self.ledger.book[1]]
        if self.teardown is not None:
            found.append(self.teardown.client)
        return [
            client for client in found if client is not None and client is not NO_CLIENT
        ]

    def refresh(self) -> None:
        """The subscriptions have changed: look again at who wants to hear of reports.

        Two threads may be here at once, and the one with the older answer may be
        the last to write; so each looks again after its write.
        """
        self.reports.refresh()
        client = self.client
        while client is not NO_CLIENT and client.unobserved != (
            unobserved := self.reports.unobserved
        ):
            client.unobserved = unobserved

    # -- the lock ----------------------------------------------------------

    def move(self, state: ConnectionState) -> None:
        """Move the state along `MOVES`. Lock held."""
        if state not in MOVES[self.state]:
            raise WaterdropError(f"a slot cannot go from {self.state} to {state}")
        self.state = state

    @ends_step
    def release(self, ticket: Ticket) -> None:
        """Give the lock back, and run what was deferred to the end of the step."""
        if self.lock.release(ticket):
            self.lock.run_deferred()

    def when_free(self, job: Callable[[], None]) -> None:
        """Run `job` when the lock is given back; now if no thread has it.

        The job is added before the look at the lock, and `release` gives it back
        before it looks for jobs: one of the two sees the other.
        """
        self.lock.defer(job)
        ticket = Ticket()
        try:
            self.lock.take(ticket)
        finally:
            self.release(ticket)

    # -- deadlines ---------------------------------------------------------

    def due_at(self) -> float | None:
        """When the client falls due, in seconds on the clock; None when it cannot."""
        client = self.client
        return None if client is NO_CLIENT else self.policy.due_at(client)

    @property
    def unnoted(self) -> bool:
        """Whether the reaper has not been told of the open client.

        The ledger is asked: a thread that judges the client has taken it out of the
        connection, and may put it back.
        """
        client = self.ledger.book[1]
        return client is not None and not client.noted

    def reschedule(self) -> None:
        """The deadline, or what stood against it, has changed.

        Noted whatever a signal handler raises meanwhile, and twice does no harm: no
        other call may ever say so (test_a_handler_that_raises_as_a_client_is_opened).
        """
        client = self.client  # the reaper sees this one, or a later one
        if self.policy.limits:
            try:
                self.runtime.reaper.reschedule(self)
            except BaseException:
                self.runtime.reaper.reschedule(self)
                raise
        client.noted = True

    def restart_deadline(self) -> None:
        """It was active since: what refused the last close may be said again."""
        self.client.refusals.clear()

    # -- what is refused ---------------------------------------------------

    def refuse_closed(self) -> None:
        """Raise `ProducerClosedError` from the beginning of the close on.

        A close by the exit handler is waited for, and the producer opens again.
        """
        check()
        if not self.is_closing:
            return
        reopen = self.hooks.reopen
        if reopen is None or not reopen():
            raise ProducerClosedError(
                f"producer {self.emitter.producer_id!r} is {self.status}; nothing "
                "was sent"
            )

    def lose(self, client: Client) -> None:
        """Refuse every verb from now on with the fatal error of `client`.

        A new client would register the transactional.id anew: a fenced producer would
        fence the one that took over (test_a_fenced_producer_stays_fenced).
        """
        if self.fatal_client is None and client.fatal is not None:
            self.fatal_client = client

    def lose_if_final(self, client: Client) -> None:
        """`lose`, where the reload policy leaves the client lost."""
        fatal = client.fatal
        if fatal is not None and self.hooks.is_final(client, fatal.code):
            self.lose(client)

    def refuse_lost(self) -> None:
        """Raise the `ProduceError` of a fatal error that stays."""
        lost = self.fatal_client
        if lost is not None and lost.fatal is not None:
            self.refuse_closed()
            raise lost.fatal.error()

    # -- a forked child ----------------------------------------------------

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
        self.reports = self._new_reports()
        self.reports.transactional = transactional
        self.lock = LifecycleLock()
        self.hooks.reset()
        if self.is_closing:
            self.state = ConnectionState.CLOSED
        else:
            self.ledger = Ledger()
            self.state = ConnectionState.EMPTY
