"""The `with` block of a transaction, and which one the calling context is inside of."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py._engine.transactions.consumed import Consumed
from waterdrop_py.errors import ProduceError, WaterdropError

if TYPE_CHECKING:
    from types import TracebackType

    from waterdrop_py._engine.client.client import Client

    class Manager(Protocol):
        """What a block asks of the transactions of its producer."""

        def current(self) -> Transaction | None: ...
        def begin(self, transaction: Transaction) -> None: ...
        def abandon(self, transaction: Transaction, error: BaseException) -> None: ...
        def end(
            self, transaction: Transaction, error: BaseException | None
        ) -> bool: ...
        def release(self, transaction: Transaction) -> None: ...


_ACTIVE: Final[ContextVar[tuple[Transaction, ...]]] = ContextVar(
    "waterdrop_py_transactions", default=()
)


class Transaction:
    """One transaction, from begin to its end.

    Attributes:
        deadline: bounds each of its waits; `inf` leaves each wait its own bound.
        last: it may begin although a close waits, which refuses all others.
        open: whether what is sent now belongs to it. Its end begins by clearing this,
            so that a message of a subscriber gets a transaction of its own.
        failure: the first error inside it, for which it is aborted.
        consumed: the positions that are committed with it.
    """

    __slots__ = (
        "client",
        "consumed",
        "deadline",
        "failure",
        "hold",
        "last",
        "manager",
        "open",
        "owner",
        "started",
    )

    def __init__(
        self,
        manager: Manager,
        deadline: float,
        *,
        last: bool,
        owner: str | None = None,
    ) -> None:
        """`owner`: the name of the task whose it is; None: the calling thread's."""
        self.manager = manager
        self.deadline = deadline
        self.last = last
        self.hold = Hold()
        self.client: Client | None = None
        self.owner = threading.current_thread().name if owner is None else owner
        self.started = clock.now()
        self.failure: BaseException | None = None
        self.open = False
        self.consumed = Consumed()

    def fail(self, error: BaseException) -> None:
        """Have it aborted when it ends, because of `error`. The first error counts."""
        if self.failure is None:
            self.failure = error

    def stop_sends(self) -> None:
        """What is sent from now on does not belong to it: it ends."""
        self.open = False

    def begun_client(self) -> Client:
        """The client on which it was begun."""
        client = self.client
        if client is None:  # pragma: no cover - begin sets it before the block runs
            raise ProduceError("the transaction was not begun (state)", code="state")
        return client


def innermost(manager: Manager) -> Transaction | None:
    """The transaction of `manager` that the calling context is inside of."""
    for transaction in reversed(_ACTIVE.get()):
        if transaction.manager is manager and transaction.open:
            return transaction
    return None


def inside(transaction: Transaction) -> bool:
    """Whether the calling context is inside of it."""
    return transaction in _ACTIVE.get()


def enter(transaction: Transaction) -> None:
    """The calling context is inside of it from now on."""
    _ACTIVE.set((*_ACTIVE.get(), transaction))


def leave(transaction: Transaction) -> None:
    """The calling context is not inside of it any more.

    Without the token of `set`: a generator may be closed in another context.
    """
    active = [each for each in _ACTIVE.get() if each is not transaction]
    _ACTIVE.set(tuple(active))


class Block:
    """The context manager of `with producer.transaction():`."""

    __slots__ = ("_deadline", "_last", "_manager", "_own", "_transaction")

    def __init__(self, manager: Manager, deadline: float, *, last: bool) -> None:
        self._manager = manager
        self._deadline = deadline
        self._last = last
        self._transaction: Transaction | None = None
        self._own = False

    def __enter__(self) -> None:
        manager = self._manager
        if self._transaction is not None:  # the inner exit would end the outer one
            raise WaterdropError(
                "this block is entered already; each `with` takes a transaction() of "
                "its own"
            )
        around = manager.current()
        if around is not None:
            self._transaction, self._own = around, False
            return
        transaction = Transaction(manager, self._deadline, last=self._last)
        self._transaction = transaction
        self._own = True
        # A signal handler may raise wherever a call returns. After the last call here,
        # its exception is raised inside the block.
        try:
            manager.begin(transaction)
            enter(transaction)
        except BaseException as error:
            self._transaction = None
            manager.abandon(transaction, error)
            raise

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
            if error is not None:
                transaction.fail(error)
            return False
        try:
            return self._manager.end(transaction, error)
        finally:
            try:
                leave(transaction)
            finally:
                self._manager.release(transaction)

    @no_signal_at_entry
    def __del__(self) -> None:
        # Reached while the block is entered if a signal handler raised on the first
        # bytecode of `__exit__`. Python drops what a handler raises in a finalizer. So
        # none runs before the release
        # (test_a_block_that_is_collected_releases_whatever_interrupts).
        try:
            transaction, own = self._transaction, self._own
        except AttributeError:  # the constructor was interrupted
            return
        if transaction is not None and own:
            self._manager.release(transaction)
