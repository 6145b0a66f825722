"""Commits or aborts a transaction, and has its client replaced after a fatal error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.kafka_errors import PURGED
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.reports import flush
from waterdrop_py._engine.reports.giving_up import GIVE_UP
from waterdrop_py._engine.transactions.commands import CommandError
from waterdrop_py.errors import AbortTransaction, ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.recovery import Recovery
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.transactions.block import Transaction
    from waterdrop_py._engine.transactions.commands import Commands
    from waterdrop_py.config import Config

_LAST_TRY: Final = 0.25
"""Seconds that an abort gets when the deadline of its transaction is over."""


class TransactionEnd:
    """Ends a producer's transactions, each on the thread that leaves its block."""

    __slots__ = ("_abort_wait", "_commands", "_emitter", "_patience", "_recovery")

    def __init__(
        self, config: Config, emitter: Emitter, recovery: Recovery, commands: Commands
    ) -> None:
        self._emitter = emitter
        self._recovery = recovery
        self._commands = commands
        self._patience = config.max_wait_timeout / 1000
        self._abort_wait = config.wait_timeout_on_transaction_abort / 1000

    def finish(self, transaction: Transaction, error: BaseException | None) -> bool:
        """Commit, or abort if `error` or an inner block says so.

        Returns whether `error` is swallowed.

        Raises:
            ProduceError: the commit failed, or an inner block had failed.
        """
        transaction.open = False
        started = clock.system_now()
        failure = transaction.failure
        if error is None and failure is None:
            self._commit_or_abort(transaction)
        else:
            self.abort(transaction, error if error is not None else failure)
            self._raise_what_purged(transaction, error)
        swallowed = isinstance(error, AbortTransaction)
        is_silent = failure is None or isinstance(failure, AbortTransaction)
        if error is None and not is_silent:
            raise ProduceError(
                "an inner block of the transaction had failed, so it was aborted "
                "(aborted)",
                code="aborted",
            ) from failure
        if error is None or swallowed:
            took_ms = (clock.system_now() - started) * 1000
            self._emitter.emit("transaction.finished", duration_ms=took_ms)
        return swallowed

    def _raise_what_purged(
        self, transaction: Transaction, error: BaseException | None
    ) -> None:
        """Raise the fatal error of the client where `error` only says "purged"."""
        fatal = transaction.begun_client().fatal
        purged = isinstance(error, ProduceError) and error.code in PURGED
        if purged and fatal is not None:
            raise fatal.error()

    def _commit_or_abort(self, transaction: Transaction) -> None:
        client = transaction.begun_client()
        try:
            self._commit(transaction)
        except ProduceError:
            raise
        except BaseException as interruption:
            # A signal handler raised before it was committed.
            if client.transaction.open:
                self.abort(transaction, interruption)
            raise

    def _commit(self, transaction: Transaction) -> None:
        client = transaction.begun_client()
        started = clock.system_now()
        # Reports are served here, and not inside the native commit: a fatal error
        # among them would interrupt it.
        flush.wait_until(
            client,
            lambda: client.is_settled or client.fatal is not None,
            min(started + self._patience, transaction.deadline),
            push=True,
        )
        try:
            transaction.consumed.send(partial(self._command, transaction))
            self._command(
                transaction,
                "commit",
                lambda client, slice_: client.opened_native().commit_transaction(
                    slice_
                ),
            )
        except CommandError as failed:
            self._after_failure(transaction, failed)
            raise failed.error from failed.__cause__
        client.transaction.end()
        self._recovery.succeeded()
        took_ms = (clock.system_now() - started) * 1000
        self._emitter.emit("transaction.committed", duration_ms=took_ms)

    def _after_failure(self, transaction: Transaction, failed: CommandError) -> None:
        """Abort once, or replace the client once, after a commit that failed."""
        if failed.error.fatal:
            self._reload(transaction, failed.error)
        else:
            self.abort(transaction, failed.error)

    def _reload(self, transaction: Transaction, error: ProduceError) -> None:
        if not transaction.last:  # the client of a closing producer is closed anyway
            self._recovery.reload(transaction.begun_client(), error, None)

    def abort(self, transaction: Transaction, cause: BaseException | None) -> None:
        """Abort. Errors become `error.occurred` and are not raised: `cause` is.

        If the abort fails, the client stays marked as in a transaction, and the next
        transaction begins on another client.
        """
        client = transaction.begun_client()
        if client.fatal is not None:
            self._reload(transaction, client.fatal.error())
            return
        started = clock.system_now()
        if self._abort_wait > 0 and not isinstance(cause, ProduceError):
            until = min(started + self._abort_wait, transaction.deadline)
            flush.wait_until(client, lambda: client.is_settled, until, push=True)
        try:
            self._command(
                transaction,
                "abort",
                lambda client, slice_: client.opened_native().abort_transaction(slice_),
                at_least=_LAST_TRY,
            )
        except CommandError as failed:
            if failed.error.fatal:
                self._reload(transaction, failed.error)
            return
        except ProduceError as error:
            self._emitter.error("transaction.abort", error)
            return
        client.transaction.end()
        # librdkafka has purged what was left. A report that a slow callback delays is
        # served later: the client stays open.
        until = clock.system_now() + GIVE_UP
        waiting.wait_serving(client, lambda: client.is_settled, until, idle=0.01)
        took_ms = (clock.system_now() - started) * 1000
        self._emitter.emit("transaction.aborted", duration_ms=took_ms)

    def _command(
        self,
        transaction: Transaction,
        name: str,
        command: Callable[[Client, float], object],
        at_least: float = 0.0,
    ) -> None:
        self._commands.run(
            transaction.begun_client(),
            name,
            command,
            max(transaction.deadline, clock.system_now() + at_least),
        )
