"""Transactions: one at a time for a producer, owned by the context that began it."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine import clock, commands, flushing
from waterdrop_py._engine.claim import Claim, Ticket
from waterdrop_py._engine.commands import CommandError, Retries
from waterdrop_py._engine.kafka_errors import produce_error
from waterdrop_py._engine.losing import GIVE_UP, give_up
from waterdrop_py._engine.slot import Refusal
from waterdrop_py.errors import (
    AbortTransaction,
    DeliveryTimeoutError,
    ProduceError,
    ReentrantCallError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.life import Life
    from waterdrop_py._engine.recovery import Recovery
    from waterdrop_py._engine.slot import ClientSlot
    from waterdrop_py.config import Config
    from waterdrop_py.typing import KafkaClient

_RECHECK: Final = 0.5
_ACTIVE: Final[ContextVar[tuple[Transaction, ...]]] = ContextVar(
    "waterdrop_py_transactions", default=()
)


class Transaction:
    """One transaction, from begin to its end."""

    __slots__ = ("doomed", "life", "manager", "open", "owner", "started", "ticket")

    def __init__(self, manager: Transactions, ticket: Ticket) -> None:
        self.manager = manager
        self.ticket = ticket
        self.life: Life | None = None
        self.owner = threading.current_thread().name
        self.started = clock.now()
        self.doomed: BaseException | None = None
        self.open = False


class Transactions:
    """The transactions of one producer. Thread-safe.

    `_claim` is the transaction lock: outermost of all, held from begin to the end of
    the block. It protects which transaction librdkafka is in.
    """

    __slots__ = (
        "_abort_wait",
        "_bells",
        "_claim",
        "_emitter",
        "_patience",
        "_recovery",
        "_retries",
        "_running",
        "_slot",
        "_waiting_jobs",
    )

    def __init__(
        self, config: Config, slot: ClientSlot, emitter: Emitter, recovery: Recovery
    ) -> None:
        self._slot = slot
        self._emitter = emitter
        self._recovery = recovery
        self._patience = config.max_wait_timeout / 1000
        self._abort_wait = config.wait_timeout_on_transaction_abort / 1000
        self._retries = Retries(
            config.max_attempts_on_transaction_command,
            config.wait_backoff_on_transaction_command / 1000,
        )
        self._claim = Claim()
        self._bells: list[SimpleQueue[None]] = []
        self._running: Transaction | None = None
        self._waiting_jobs: list[Callable[[], None]] = []
        slot.holds.append(self.hold)
        slot.prepare = self._prepare
        slot.resets.append(self.reset)

    # -- who is in it ------------------------------------------------------

    def current(self) -> Transaction | None:
        """The transaction that the calling context is inside of."""
        for transaction in reversed(_ACTIVE.get()):
            if transaction.manager is self and transaction.open:
                return transaction
        return None

    def hold(self) -> Refusal | None:
        """What a transaction has against a close of the client."""
        running = self._running
        if running is None:
            return None
        age_ms = (clock.now() - running.started) * 1000
        return Refusal("transaction", 1, age_ms, running.owner)

    def block(self) -> Block:
        """A block: a transaction of its own, or part of the one around it."""
        return Block(self)

    def reset(self) -> None:
        """Be as if just made: this is a forked child."""
        self._claim = Claim()
        self._bells = []
        self._running = None
        self._waiting_jobs = []

    # -- begin -------------------------------------------------------------

    def begin(self) -> Transaction:
        """Wait for the transaction before this one, and begin."""
        self._slot.refuse_closed()
        if self._slot.life.held_here() or self._slot.mine:
            raise ReentrantCallError(
                "a transaction cannot begin inside a callback of its own client, "
                "which holds up the reports that it would wait for"
            )
        transaction = Transaction(self, Ticket())
        try:
            self._take_claim(transaction.ticket, self._patience)
            self._running = transaction
            self._begin(transaction)
        except BaseException:
            self.release(transaction)
            raise
        transaction.open = True
        self._emitter.emit("transaction.started")
        return transaction

    def _begin(self, transaction: Transaction) -> None:
        transaction.life = self._slot.ready(clock.system_now() + self._patience)
        try:
            self._command(
                transaction.life, "begin", lambda client, _: client.begin_transaction()
            )
        except CommandError as failed:
            if failed.error.fatal:
                self._recovery.reload(transaction.life, failed.error, None)
            raise failed.error from failed.__cause__

    def _take_claim(self, ticket: Ticket, patience: float) -> None:
        deadline = clock.system_now() + patience
        while not self._claim.take(ticket):
            if self._claim.mine:
                raise ReentrantCallError(
                    "this thread is inside a transaction that the running context "
                    "(an asyncio task, or a signal handler) does not belong to"
                )
            left = deadline - clock.system_now()
            if left <= 0:
                raise DeliveryTimeoutError(
                    "another transaction of the producer did not end in time"
                )
            bell: SimpleQueue[None] = SimpleQueue()
            self._bells.append(bell)
            try:
                if self._claim.taken:
                    bell.get(timeout=min(left, _RECHECK))
            except Empty:
                pass
            finally:
                self._bells.remove(bell)

    def release(self, transaction: Transaction) -> None:
        """The transaction has ended, whichever way: the next one may begin."""
        transaction.open = False
        if self._running is transaction:
            self._running = None
        if self._claim.release(transaction.ticket):
            for bell in tuple(self._bells):
                bell.put(None)
            while self._waiting_jobs:
                self._slot.engine.closers.submit(self._waiting_jobs.pop(0))
        self._slot.look_again()

    def after_transaction(self, job: Callable[[], None]) -> None:
        """Run `job` on another thread when no transaction is running."""
        self._waiting_jobs.append(job)
        ticket = Ticket()
        try:
            if not self._slot.life.held_here():
                self._claim.take(ticket)
        finally:
            if self._claim.release(ticket):
                while self._waiting_jobs:
                    self._slot.engine.closers.submit(self._waiting_jobs.pop(0))

    def wait_for_end(self, patience: float) -> bool:
        """For `close`: wait until no transaction is running; whether that is so."""
        ticket = Ticket()
        try:
            self._take_claim(ticket, patience)
        except (DeliveryTimeoutError, ReentrantCallError):
            return False
        finally:
            self._claim.release(ticket)
        return True

    # -- end ---------------------------------------------------------------

    def end(self, transaction: Transaction, error: BaseException | None) -> bool:
        """Commit, or abort; whether `error` is swallowed.

        Raises:
            ProduceError: the commit failed, or an inner block had failed.
        """
        started = clock.system_now()
        doomed = transaction.doomed
        if error is None and doomed is None:
            self._commit(transaction)
        else:
            self._abort(transaction, error if error is not None else doomed)
        swallowed = isinstance(error, AbortTransaction)
        quiet = doomed is None or isinstance(doomed, AbortTransaction)
        if error is None and not quiet:
            raise ProduceError(
                "an inner block of the transaction had failed, so it was aborted "
                "(aborted)",
                code="aborted",
            ) from doomed
        if error is None or swallowed:
            took_ms = (clock.system_now() - started) * 1000
            self._emitter.emit("transaction.finished", duration_ms=took_ms)
        return swallowed

    def _commit(self, transaction: Transaction) -> None:
        life = _life_of(transaction)
        started = clock.system_now()
        # Reports are served here, and not inside the native commit: a fatal error
        # among them would tear one.
        flushing.wait_until(
            life,
            lambda: not life.in_flight() or life.fatal is not None,
            started + self._patience,
            push=True,
        )
        try:
            self._command(
                life, "commit", lambda client, slice_: client.commit_transaction(slice_)
            )
        except CommandError as failed:
            self._after_failure(transaction, failed)
            raise failed.error from failed.__cause__
        self._recovery.succeeded()
        took_ms = (clock.system_now() - started) * 1000
        self._emitter.emit("transaction.committed", duration_ms=took_ms)

    def _after_failure(self, transaction: Transaction, failed: CommandError) -> None:
        """A commit failed: abort once, or replace the client once; never both."""
        life = _life_of(transaction)
        if failed.error.fatal:
            self._recovery.reload(life, failed.error, None)
        else:
            self._abort(transaction, failed.error)

    def _abort(self, transaction: Transaction, cause: BaseException | None) -> None:
        """Abort. What goes wrong is told, and not raised: the cause counts more."""
        life = _life_of(transaction)
        started = clock.system_now()
        kafka_failed = isinstance(cause, ProduceError)
        fatal = _fatal_error(life, cause)
        if fatal is not None:
            self._recovery.reload(life, fatal, None)
            return
        if self._abort_wait > 0 and not kafka_failed:
            until = started + self._abort_wait
            flushing.wait_until(life, lambda: not life.in_flight(), until, push=True)
        try:
            self._command(
                life, "abort", lambda client, slice_: client.abort_transaction(slice_)
            )
        except CommandError as failed:
            if failed.error.fatal:
                self._recovery.reload(life, failed.error, None)
            elif not isinstance(cause, ProduceError):
                # Neither in a transaction nor out of it: only a new client is sure.
                self._slot.discard(life)
            return
        except ProduceError as error:
            self._emitter.error("transaction.abort", error)
            return
        give_up(life, clock.system_now() + GIVE_UP)
        took_ms = (clock.system_now() - started) * 1000
        self._emitter.emit("transaction.aborted", duration_ms=took_ms)

    # -- commands ----------------------------------------------------------

    def _prepare(self, life: Life) -> None:
        """`init_transactions` on a client that was just opened."""
        try:
            self._command(
                life, "begin", lambda client, slice_: client.init_transactions(slice_)
            )
        except CommandError as failed:
            raise failed.error from failed.__cause__

    def mark(
        self, transaction: Transaction, consumer: Any, message: Any, offset: Any
    ) -> None:
        """Make a consumed message's offset part of the transaction."""
        started = clock.system_now()
        group = consumer.consumer_group_metadata()
        try:
            self._command(
                _life_of(transaction),
                "store_offset",
                lambda client, slice_: client.send_offsets_to_transaction(
                    [offset], group, slice_
                ),
            )
        except CommandError as failed:
            raise failed.error from failed.__cause__
        took_ms = (clock.system_now() - started) * 1000
        self._emitter.emit(
            "transaction.marked_as_consumed",
            {"message": message, "metadata": offset.metadata},
            duration_ms=took_ms,
        )

    def _command(
        self, life: Life, name: str, command: Callable[[KafkaClient, float], object]
    ) -> None:
        kind = f"transaction.{name}"
        commands.run(life, self._emitter, self._retries, kind, command)


class Block:
    """`with producer.transaction():`."""

    __slots__ = ("_manager", "_own", "_transaction")

    def __init__(self, manager: Transactions) -> None:
        self._manager = manager
        self._transaction: Transaction | None = None
        self._own = False

    def __enter__(self) -> None:
        around = self._manager.current()
        if around is not None:
            self._transaction = around
            return
        self._transaction = transaction = self._manager.begin()
        self._own = True
        _ACTIVE.set((*_ACTIVE.get(), transaction))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            return False
        if not self._own:
            if error is not None and transaction.doomed is None:
                transaction.doomed = error
            return False
        try:
            return self._manager.end(transaction, error)
        finally:
            # Not by token: a generator may be closed in another context.
            active = tuple(each for each in _ACTIVE.get() if each is not transaction)
            _ACTIVE.set(active)
            self._manager.release(transaction)


def _life_of(transaction: Transaction) -> Life:
    life = transaction.life
    if life is None:  # pragma: no cover - begin sets it before the block runs
        raise ProduceError("the transaction was not begun (state)", code="state")
    return life


def _fatal_error(life: Life, cause: BaseException | None) -> ProduceError | None:
    """The fatal error that a transaction ends with, if it is one."""
    if isinstance(cause, ProduceError) and cause.fatal:
        return cause
    if life.fatal is None:
        return None
    return produce_error(life.fatal)
