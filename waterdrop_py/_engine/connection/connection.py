"""`Connection`: whether a producer has an open client. Its state and its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.kafka_errors import forked_error
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
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
from waterdrop_py._engine.reports.handler import ReportHandler
from waterdrop_py._engine.reports.resending import NO_RESENDING
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
    from waterdrop_py._engine.reports.resending import Resending


def _no_client() -> Client:
    client = Client(None, lambda _: None)  # type: ignore[arg-type]
    client.drop_native()
    return client


NO_CLIENT: Final = _no_client()
"""What a connection without a client holds: quiet, so every send takes the long way."""

ONLY: Final = 0


def every_connection() -> list[Connection]:
    """Every connection that has opened a client and is still referenced."""
    return cast("list[Connection]", RUNTIME.registered())


def _no_resending(_: Connection) -> Resending:
    return NO_RESENDING


class Connection:
    """Holds the client of a producer. Thread-safe, re-entrant, fork-aware.

    `lock` protects `state`: only its holder may open or disconnect a client. Threads
    try to take it, and wait for a wake-up when it is taken.

    Senders do not take the lock. A sender and a disconnect at the same moment:
    1. The sender reads `client`, adds a mark to `client.borrows`, and reads `client`
       again. It produces if that is still the same one.
    2. The disconnect sets `client` to NO_CLIENT, and then reads `borrows`. It puts the
       client back if there is a mark.
    So at least one of the two sees the other
    (test_send_between_the_look_and_the_close).

    `opening.py` opens clients, `disconnecting.py` closes them, and `closing.py` closes
    the producer.

    Attributes:
        partitions: what is known of the topics' partitions; it outlives the clients.
        topic: the topic of the last message that did not take the fast path.
        teardown: the close of the previous client, while it is in progress.
        fatal_client: the client whose fatal error stays, if there is one.
        shutdowns: at ONLY the close of the producer, from its beginning on.
        late: delivers what is sent where no thread can run.
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
        "shutdowns",
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
        """All times are in seconds. `resending` makes the part that sends a message
        again whose partition does not exist."""
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
        self.shutdowns: dict[int, Closing] = {}
        self.late: LateDelivery | None = None

    def _new_reports(self) -> ReportHandler:
        factory = self.factory
        reports = ReportHandler(self.emitter, factory.servers, factory.on_delivery)
        reports.resend_with(self._make_resending(self))
        return reports

    # -- what it is --------------------------------------------------------

    @property
    def status(self) -> Status:
        """The public status. Takes no lock."""
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
    def shutdown(self) -> Closing | None:
        """The close of the producer, once there is one."""
        return self.shutdowns.get(ONLY)

    @property
    def current_client(self) -> Client | None:
        """The open client, also while a disconnect decides about it.

        `client` is NO_CLIENT then (test_a_client_that_is_judged_is_connected). For what
        a producer says of itself, and for who waits on this client; not for sends.
        """
        client = self.client
        if client is not NO_CLIENT:
            return client
        return self.ledger.book[1] if self.state is ConnectionState.OPEN else None

    @property
    def locked_here(self) -> bool:
        """Whether the calling thread holds the lock, further down its own stack."""
        return self.lock.held_here

    def clients(self) -> list[Client]:
        """The clients of this connection that are not destroyed yet."""
        found = [self.client, self.ledger.book[1]]
        if self.teardown is not None:
            found.append(self.teardown.client)
        return [each for each in found if each not in {None, NO_CLIENT}]

    def refresh(self) -> None:
        """The subscriptions have changed: read again who wants to hear of reports."""
        self.reports.refresh()
        client = self.client
        if client is not NO_CLIENT:
            client.refresh()

    # -- the lock ----------------------------------------------------------

    def move(self, state: ConnectionState) -> None:
        """Move the state along `MOVES`. Lock held."""
        if state not in MOVES[self.state]:
            raise WaterdropError(f"a connection cannot go from {self.state} to {state}")
        self.state = state

    @no_signal_at_entry
    def release(self, hold: Hold) -> None:
        """Release the lock if `hold` has it, and wake the threads that wait for it."""
        try:
            released = self.lock.release(hold)
        finally:
            pass
        if released:
            self.lock.wake()
            self.send_deferred()

    def send_deferred(self) -> None:
        """A call has ended that deferred messages may wait for. Does not wait."""
        deferred = self.hooks.deferred
        if deferred is not None:
            deferred.begin()

    # -- deadlines ---------------------------------------------------------

    def due_at(self) -> float | None:
        """When the client falls due, in seconds on the clock; None when it cannot."""
        client = self.client
        return None if client is NO_CLIENT else self.policy.due_at(client)

    @property
    def unnoted(self) -> bool:
        """Whether the reaper has not been told of the open client.

        Asks the ledger, because a disconnect that decides about the client has taken
        it out of `client`, and may put it back.
        """
        client = self.ledger.book[1]
        return client is not None and not client.deadline_noted

    def reschedule(self) -> None:
        """Tell the reaper that the deadline, or what stood against it, has changed.

        Done again where a signal handler raises meanwhile, because no other call may
        ever do it (test_a_handler_that_raises_as_a_client_is_opened). Twice does no
        harm.
        """
        client = self.client  # the reaper sees this one, or a later one
        if self.policy.limits:
            try:
                self.runtime.reaper.reschedule(self)
            except BaseException:
                self.runtime.reaper.reschedule(self)
                raise
        client.note_deadline()

    def restart_deadline(self) -> None:
        """It was active since: a reason for a refusal may be told again."""
        self.client.refusals.clear()

    # -- what is refused ---------------------------------------------------

    def refuse_closed(self) -> None:
        """Raise `ProducerClosedError` from the beginning of the close on.

        After a close by the exit handler the producer opens again, and this waits for
        that.
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

    def keep_fatal_error(self, client: Client) -> None:
        """Refuse every verb from now on with the fatal error of `client`.

        A new client would register the transactional.id anew: a fenced producer would
        fence the one that took over (test_a_fenced_producer_stays_fenced).
        """
        if self.fatal_client is None and client.fatal is not None:
            self.fatal_client = client

    def keep_fatal_error_if_final(self, client: Client) -> None:
        """`keep_fatal_error`, if the reload policy does not replace the client."""
        fatal = client.fatal
        if fatal is not None and self.hooks.is_final(client, fatal.code):
            self.keep_fatal_error(client)

    def refuse_after_fatal_error(self) -> None:
        """Raise the `ProduceError` of a fatal error that stays."""
        lost = self.fatal_client
        if lost is not None and lost.fatal is not None:
            self.refuse_closed()
            raise lost.fatal.error()

    # -- a forked child ----------------------------------------------------

    def start_afresh(self) -> None:
        """Be as if just made, unless closed: this is a forked child.

        The fatal error of a transactional.id stays. Without one, the child's own client
        has a producer id of its own, and works.
        """
        self.keep_fatal_error_if_final(self.client)
        if not self.reports.transactional:
            self.fatal_client = None
        self.client = NO_CLIENT
        self.teardown = None
        transactional = self.reports.transactional
        self.reports = self._new_reports()
        if transactional:
            self.reports.for_transactions()
        self.lock = LifecycleLock()
        deferred = self.hooks.deferred
        if deferred is not None:
            deferred.forget(forked_error())
        self.hooks.forget_deferred()
        self.hooks.reset()
        self.ledger = Ledger()
        shutdown = self.shutdown
        if shutdown is not None and self.is_closing:
            self.state = ConnectionState.CLOSED
            shutdown.forked()
        else:
            self.shutdowns.clear()
            self.state = ConnectionState.EMPTY
