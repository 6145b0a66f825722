"""`TaskBlock`: `async with producer.transaction():`, in one task and those inside."""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.loops import TICK, Waiter
from waterdrop_py._engine.transactions.block import enter, leave
from waterdrop_py._engine.transactions.manager import late_error
from waterdrop_py.aio.jobs import on_worker
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from types import TracebackType

    from waterdrop_py._engine.transactions.block import Transaction
    from waterdrop_py._engine.transactions.manager import Transactions
    from waterdrop_py._engine.transactions.turns import Turn


class TaskBlock:
    """One transaction of a task, or part of the one around it.

    Its commands run on threads of the library. Where the task is cancelled meanwhile,
    they go on, and what was begun for nothing is aborted.
    """

    __slots__ = ("_deadline", "_manager", "_own", "_transaction")

    def __init__(self, manager: Transactions, deadline: float = inf) -> None:
        self._manager = manager
        self._deadline = deadline
        self._transaction: Transaction | None = None
        self._own = False

    async def __aenter__(self) -> None:
        if self._transaction is not None:  # the inner exit would end the outer one
            raise WaterdropError(
                "this block is entered already; each `async with` takes a "
                "transaction() of its own"
            )
        around = self._manager.current()
        if around is not None:
            self._transaction, self._own = around, False
            return
        task = asyncio.current_task()
        owner = "asyncio" if task is None else task.get_name()
        transaction = self._manager.for_task(self._deadline, owner)
        self._transaction, self._own = transaction, True
        try:
            await self._take_turn(transaction)
            await on_worker(
                partial(self._begin, transaction),
                undo=lambda _: self._manager.abandon(
                    transaction, asyncio.CancelledError()
                ),
            )
        except BaseException:
            self._transaction = None
            raise
        enter(transaction)

    async def _take_turn(self, transaction: Transaction) -> None:
        """Wait for the transaction before this one; the lock is taken then."""
        manager, waiter = self._manager, Waiter()
        until = manager.turn_deadline(transaction)
        turn = manager.join(transaction, waiter)
        try:
            await self._granted(turn, waiter, until)
        except BaseException:
            manager.leave(turn)
            raise

    async def _granted(self, turn: Turn, waiter: Waiter, until: float) -> None:
        """Wait until the turn has come.

        1. The loop is stopped, so the turn is given to others.
        2. The lock is released for the last time, and the loop runs again.
        So the task has a look every TICK seconds
        (test_a_turn_of_a_task_whose_loop_has_ended).
        """
        while not turn.granted:
            now = clock.system_now()
            if now >= until:
                raise late_error()
            if not await waiter.wait(min(until, now + TICK)):
                waiter = Waiter()
                self._manager.wait_on(turn, waiter)

    def _begin(self, transaction: Transaction) -> None:
        """Begin it, or give the turn on. On a worker."""
        try:
            self._manager.begin(transaction)
        except BaseException as error:
            self._manager.abandon(transaction, error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            return False
        if not self._own:
            if error is not None:
                transaction.fail(error)
            return False
        leave(transaction)
        if isinstance(error, GeneratorExit):
            # Its loop was closed and its task is collected: nothing can be awaited.
            self._manager.end_dropped(transaction)
            return False
        transaction.stop_sends()
        return await on_worker(partial(self._end, transaction, error))

    def _end(self, transaction: Transaction, error: BaseException | None) -> bool:
        """Commit or abort, and let the next one begin. On a worker."""
        try:
            return self._manager.end(transaction, error)
        finally:
            self._manager.release(transaction)

    def __del__(self) -> None:
        # The loop was closed inside the block, and its task is collected.
        transaction = getattr(self, "_transaction", None)
        if transaction is not None and self._own:
            self._manager.end_dropped(transaction)
