"""The transactions of a producer: one at a time, owned by the context that began it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import AwaitedLock, Hold
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.disconnecting import discard
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.connection.states import Refusal
from waterdrop_py._engine.transactions.block import (
    Block,
    Transaction,
    innermost,
    inside,
)
from waterdrop_py._engine.transactions.commands import CommandError, Commands
from waterdrop_py._engine.transactions.ending import TransactionEnd
from waterdrop_py._engine.transactions.turns import Turn, Turns
from waterdrop_py.errors import (
    AbortTransaction,
    DeliveryTimeoutError,
    ProduceError,
    ProducerClosedError,
    ReentrantCallError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.concurrency.loops import Waiter
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.recovery import Recovery
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.config import Config

_RECHECK: Final = 0.5
"""Seconds until a thread that waits for the lock tries again without a wake-up."""


def late_error() -> DeliveryTimeoutError:
    """The error of a caller whose turn did not come in time."""
    return DeliveryTimeoutError(
        "another transaction of the producer did not end in time; nothing was sent"
    )


class Transactions:
    """The transactions of one producer. Thread-safe.

    `_lock` is held from the begin of a transaction to the end of its block. It is the
    outermost lock, and protects which transaction librdkafka is in.
    """

    __slots__ = (
        "_commands",
        "_connection",
        "_emitter",
        "_end",
        "_lock",
        "_max_wait",
        "_recovery",
        "_running",
        "_shut",
        "_turns",
    )

    def __init__(
        self,
        config: Config,
        connection: Connection,
        emitter: Emitter,
        recovery: Recovery,
    ) -> None:
        self._connection = connection
        self._emitter = emitter
        self._recovery = recovery
        self._max_wait = config.max_wait_timeout / 1000
        self._commands = Commands(config, emitter)
        self._end = TransactionEnd(config, emitter, recovery, self._commands)
        self._lock = AwaitedLock()
        self._turns = Turns(self._lock)
        self._running: Transaction | None = None
        self._shut = False
        connection.hooks.add(self)
        connection.hooks.inside_while(self._locked_by_this_thread)
        connection.hooks.prepare_with(self._prepare)

    # -- which transaction -------------------------------------------------

    def current(self) -> Transaction | None:
        """The transaction that the calling context is inside of."""
        check()
        return innermost(self)

    def inside_open(self) -> bool:
        """Whether what the calling context sends belongs to the running transaction."""
        running = self._running
        return running is not None and running.open and inside(running)

    def fail(self, error: BaseException) -> None:
        """Have the transaction of the calling context aborted when it ends."""
        around = self.current()
        if around is not None:
            around.fail(error)

    def refusal(self) -> Refusal | None:
        """Why the client may not be closed: a transaction runs."""
        running = self._running
        if running is None:
            return None
        age_ms = (clock.now() - running.started) * 1000
        return Refusal("transaction", 1, age_ms, running.owner)

    def block(self, deadline: float = inf, *, last: bool = False) -> Block:
        """A `with` block: a new transaction, or part of the one around it.

        `last`: it may begin although a close waits.
        """
        return Block(self, deadline, last=last)

    def _locked_by_this_thread(self) -> bool:
        return self._lock.held_here

    def reset(self) -> None:
        """Start afresh in a forked child, which is in no transaction."""
        if self._running is not None:
            self._running.open = False
        self._shut = False
        self._lock = AwaitedLock()
        self._turns = Turns(self._lock)
        self._running = None

    # -- for tasks of asyncio ----------------------------------------------

    def for_task(self, deadline: float, owner: str) -> Transaction:
        """A transaction of the task named `owner`, not begun yet."""
        return Transaction(self, deadline, last=False, owner=owner)

    def turn_deadline(self, transaction: Transaction) -> float:
        """When a task gives up to wait for its turn, on the system's clock."""
        return min(transaction.deadline, clock.system_now() + self._max_wait)

    def join(self, transaction: Transaction, waiter: Waiter) -> Turn:
        """Wait for the transaction before this one, without a thread.

        `waiter` is called on any thread. `begin` comes next.
        """
        self._refuse_closed(transaction)
        turn = Turn(transaction.hold, waiter, waiter.is_lost)
        self._turns.join(turn)
        return turn

    def wait_on(self, turn: Turn, waiter: Waiter) -> None:
        """Have `waiter` called instead. Its loop may have been stopped until now."""
        turn.on_turn = waiter
        self._turns.advance()

    def leave(self, turn: Turn) -> None:
        """Wait no more, and give the turn on."""
        if not self._turns.leave(turn):
            self._release_lock(turn.hold)

    def running_is_open(self) -> Callable[[], bool]:
        """What says whether the transaction of the calling context is still open."""
        running = self.current()
        return lambda: running is not None and running.open

    def end_dropped(self, transaction: Transaction) -> None:
        """Abort a transaction whose task was dropped. Callable in finalizers."""

        def abort() -> None:
            try:
                self.abandon(transaction, AbortTransaction())
            except Exception as error:  # noqa: BLE001 - no caller is left
                self._emitter.error("transaction.abort", error)

        self._connection.runtime.workers.submit(abort)

    # -- begin -------------------------------------------------------------

    def begin(self, transaction: Transaction) -> None:
        """Wait for the transaction before this one, and begin it.

        Blocks for `max_wait_timeout` at most. If it raises, the caller calls `abandon`.
        """
        self._refuse_closed(transaction)
        if self._connection.client.served_here or self._connection.locked_here:
            raise ReentrantCallError(
                "a transaction cannot begin inside a callback of its own client, "
                "which holds up the reports that it would wait for"
            )
        until = min(transaction.deadline, clock.system_now() + self._max_wait)
        self._acquire(transaction.hold, until)
        self._refuse_closed(transaction)  # closed while this one waited
        try:
            client = self._ready(transaction, until)
        except ProduceError as error:
            # An error of the registration was emitted by its command.
            if self._connection.fatal_client is not None:
                self._emitter.error("transaction.begin", error, attempt=1, retry=False)
            raise
        # From here on, librdkafka may be in a transaction.
        client.transaction.begin()
        client.use(clock.now())
        try:
            self._commands.run(
                client,
                "begin",
                lambda client, _: client.opened_native().begin_transaction(),
                max(transaction.deadline, clock.system_now()),
            )
        except CommandError as failed:
            if failed.error.fatal:
                self._recovery.reload(client, failed.error, None)
            raise failed.error from failed.__cause__
        transaction.open = True
        self._emitter.emit("transaction.started")

    def _prepare(self, client: Client, deadline: float | None) -> None:
        """`init_transactions` on a client that was just opened."""
        try:
            self._commands.run(
                client,
                "begin",
                lambda client, slice_: client.opened_native().init_transactions(slice_),
                inf if deadline is None else deadline,
            )
        except CommandError as failed:
            raise failed.error from failed.__cause__

    def _refuse_closed(self, transaction: Transaction) -> None:
        self._connection.refuse_closed()
        if self._shut and not transaction.last:
            raise ProducerClosedError(
                f"producer {self._emitter.producer_id!r} is closing; nothing was sent"
            )

    def _ready(self, transaction: Transaction, until: float) -> Client:
        """A client that is in no transaction, and stays open from here on.

        1. The client is opened first, so that one that is too old is replaced.
        2. `_running` is set, and only then is `connection.client` looked at again.
        3. A disconnect publishes that the client is gone, and only then asks `refusal`.
           One of the two sees the other.
        """
        connection = self._connection
        while True:
            client = open_noted(connection, until)
            state = client.transaction
            if (state.open or state.sequence_gap) and client.fatal is None:
                # The transaction before did not surely end, or a message was refused.
                # Only a new client is sure to work.
                discard(connection, client)
                continue
            transaction.client = client
            self._running = transaction
            if connection.client is client:
                return client
            self._running = None

    def _acquire(self, hold: Hold, deadline: float) -> None:
        while not self._lock.take(hold):
            if self._lock.held_here:
                raise ReentrantCallError(
                    "this thread is inside a transaction that the running context "
                    "(an asyncio task, or a signal handler) does not belong to"
                )
            left = deadline - clock.system_now()
            if left <= 0:
                raise late_error()
            self._lock.wait_released(min(left, _RECHECK))

    def wait_for_end(self, wanted: Callable[[], bool]) -> None:
        """Wait until no transaction runs, however long that takes, or until `wanted()`
        is false. The next one may begin at once."""
        while self._lock.locked and wanted():
            self._lock.wait_released(_RECHECK)

    def abandon(self, transaction: Transaction, error: BaseException) -> None:
        """Abort and release a transaction whose begin raised `error`."""
        try:
            if transaction.open:
                transaction.open = False
                self._end.abort(transaction, error)
        finally:
            self.release(transaction)

    @no_signal_at_entry
    def release(self, transaction: Transaction) -> None:
        """Let the next transaction begin: this one has ended, in whatever way."""
        try:
            transaction.open = False
            if self._running is transaction:
                self._running = None
        finally:
            self._release_lock(transaction.hold)
        self._connection.reschedule()

    @no_signal_at_entry
    def _release_lock(self, hold: Hold) -> None:
        """Release the lock, and wake the threads that wait for it."""
        try:
            released = self._lock.release(hold)
        finally:
            pass
        if not released:
            return
        self._lock.wake()
        self._connection.send_deferred()

    def shut(self, deadline: float) -> None:
        """Refuse new transactions, and wait for the running one; for `close`.

        Blocks until `deadline` at most.
        """
        self._shut = True
        hold = Hold()
        try:
            self._acquire(hold, deadline)
        except DeliveryTimeoutError:
            return
        except BaseException:
            self._shut = False  # the close was interrupted
            raise
        finally:
            self._release_lock(hold)

    def end(self, transaction: Transaction, error: BaseException | None) -> bool:
        """Commit, or abort; whether `error` is swallowed. See `TransactionEnd`."""
        return self._end.finish(transaction, error)
