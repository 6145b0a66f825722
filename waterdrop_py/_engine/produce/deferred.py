"""Deferred messages: sent by a worker, once the call that they interrupted has ended.

A callback, a subscriber or a signal handler may send while its own thread, further
down the stack, holds what the send would wait for. A worker can wait for that.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.pending import client_of, fail, wait_in
from waterdrop_py._engine.client.poll_lock import SLICE
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py.errors import ProduceError, ReentrantCallError

if TYPE_CHECKING:
    from waterdrop_py._engine.client.watchers import Pending
    from waterdrop_py._engine.produce.dispatch import Dispatch
    from waterdrop_py._engine.reports.handler import ReportHandler
    from waterdrop_py._engine.transactions.manager import Transactions
    from waterdrop_py.delivery import DeliveryHandle

_TICK: Final = 0.001
_CALL: Final = 0.05
"""Seconds that a close waits for a send that had begun before senders were refused."""


def send_or_defer(
    dispatch: Dispatch,
    handle: DeliveryHandle,
    verb: str,
    transactions: Transactions | None = None,
) -> None:
    """Send `handle`, or leave it to a worker if that would wait for the call that this
    one interrupted.

    On a transactional producer it is sent inside the transaction of the calling
    context, or in one of its own. A deferred message always gets its own.

    Raises:
        ProduceError, ProducerClosedError: nothing was sent.
    """
    try:
        if transactions is None:
            dispatch.send(handle, verb)
        else:
            with transactions.block():
                dispatch.send(handle, verb)
    except ReentrantCallError:
        dispatch.connection.hooks.deferring(
            lambda: Deferred(dispatch, transactions)
        ).add(handle, verb)


class Deferred:
    """The deferred messages of one connection, and what each of their handles holds in
    place of a client until it is sent. Thread-safe.

    One job on a worker sends them in order. Like any other thread, it waits for the
    lifecycle lock, for room and for a transaction. `_sending` is held by the thread
    that sends. `add` appends and then looks at that lock. The sender releases it and
    then looks for messages. One of the two sees the other
    (test_a_message_that_is_deferred_as_the_job_ends).

    A message stays in front until it has its client or its outcome. The thread that
    removes it decides its outcome, so a close and the sender never both do.

    Attributes:
        given_up: why no message that still waits will ever be sent.
    """

    __slots__ = (
        "_connection",
        "_dispatch",
        "_sending",
        "_transactions",
        "_waiting",
        "given_up",
    )

    def __init__(self, dispatch: Dispatch, transactions: Transactions | None) -> None:
        self._dispatch = dispatch
        self._connection = dispatch.connection
        self._transactions = transactions
        self._waiting: deque[tuple[DeliveryHandle, str]] = deque()
        self._sending = OwnedLock()
        self.given_up: BaseException | None = None

    def add(self, handle: DeliveryHandle, verb: str) -> None:
        """Have a worker send `handle`."""
        wait_in(handle, self)
        try:
            self._waiting.append((handle, verb))
        finally:
            self.begin()

    def begin(self) -> None:
        """Have a worker send what waits, if none does. Again does no harm.

        Where no thread can start, this sends here and now, unless this thread is inside
        the call that has to end first. The end of that call begins anew, and so do the
        next one, a wait for a handle, and the close.
        """
        if self._waiting and not self._sending.locked:
            self._connection.runtime.workers.submit(self._work)

    def inside(self) -> bool:
        """Whether the calling thread is inside a call that a message may wait for."""
        connection = self._connection
        return (
            connection.hooks.inside()
            or connection.locked_here
            or connection.client.served_here
            or self._sending.held_here
        )

    def wait(self, handle: Pending, deadline: float) -> None:
        """Wait at most SLICE for the outcome of a message that is not sent yet.

        Raises:
            ReentrantCallError: this call is inside one that the message waits for.
        """
        if self.inside():
            raise ReentrantCallError(
                "this message is sent when the interrupted call ends; its report "
                "cannot be waited for inside it"
            )
        self.begin()
        watchers.wait(self, handle, min(deadline - clock.system_now(), SLICE))

    def flush(self, deadline: float) -> None:
        """Send what waits, here or on the worker, until `deadline`; for a close."""
        while self._waiting and clock.system_now() < deadline:
            self._send_all(deadline)
            if self._sending.locked:
                sleep(_TICK)

    def give_up(self) -> None:
        """Give up what waits: the producer closes, and its senders are refused.

        1. A sender marks the client as borrowed, finds it open, and notes it as the
           client of the message.
        2. The close refuses senders, waits for such a mark, and looks whether the
           message has a client.
        So a message that was given up here was not sent
        (test_a_close_meets_a_deferred_message_as_it_is_sent).
        """
        client = self._connection.ledger.book[1]
        until = clock.system_now() + _CALL
        while client is not None and client.borrows and self._sending.locked:
            if clock.system_now() >= until:
                break
            sleep(_TICK)
        error = ProduceError(
            "given up: the producer closed before this message could be sent "
            "(purge_queue)",
            code="purge_queue",
        )
        for item in list(self._waiting):
            handle, verb = item
            if self._take_out(item) and client_of(handle) is self:
                self._fail(handle, verb, error)

    def forget(self, error: BaseException) -> None:
        """Send none of them: this is a forked child, and the parent does."""
        self.given_up = error
        self._waiting.clear()

    # -- the owner of a handle that waits ----------------------------------

    @property
    def reports(self) -> ReportHandler:
        """As of the connection's clients."""
        return self._connection.reports

    def notify_later(self, handle: Pending) -> None:
        """Have a worker call what watches `handle`: it was interrupted."""
        self._connection.runtime.workers.submit(lambda: watchers.notify(self, handle))

    def done_callback_raised(self, error: BaseException) -> None:
        """Report what a user's callback of a handle raised."""
        self.reports.callback_raised("done_callback", error)

    # -- the job -----------------------------------------------------------

    def _work(self) -> None:
        if not self.inside():
            self._send_all(inf)

    def _send_all(self, deadline: float) -> None:
        """Send what waits, unless another thread does."""
        hold = Hold()
        while self._waiting and clock.system_now() < deadline:
            try:
                if not self._sending.take(hold):
                    return
                while self._waiting and clock.system_now() < deadline:
                    self._send_first(deadline)
            finally:
                self._sending.release(hold)

    def _send_first(self, deadline: float) -> None:
        """Send the message in front. An error becomes its outcome, and an event."""
        try:
            item = handle, verb = self._waiting[0]
        except IndexError:
            return  # a close has given it up
        failure: BaseException | None = None
        if client_of(handle) is self:
            try:
                self._send(handle, verb, deadline)
            except BaseException as error:
                if from_signal_handler(error):
                    raise  # it stays in front
                failure = error.with_traceback(None)  # its frames have the handle
        else:
            # A signal handler raised as it was sent, where no thread could start. It
            # may be queued, so it is not sent again.
            failure = ProduceError(
                "a signal handler raised as this message was handed over: whether it "
                "was sent is not known (report_lost)",
                code="report_lost",
            )
        if self._take_out(item) and failure is not None and not handle.done():
            self._fail(handle, verb, failure)

    def _send(self, handle: DeliveryHandle, verb: str, deadline: float) -> None:
        transactions, bound = self._transactions, None
        if deadline < inf:
            bound = deadline
        if transactions is None:
            self._dispatch.send(handle, verb, bound, deferred=self)
            return
        if bound is None:
            # However long it takes: a transaction may last longer than any bound.
            runtime = self._connection.runtime
            transactions.wait_for_end(
                lambda: not (handle.done() or runtime.without_threads)
            )
            if handle.done():
                return
        with transactions.block(deadline, last=True):
            self._dispatch.send(handle, verb, bound, deferred=self)

    def _take_out(self, item: tuple[DeliveryHandle, str]) -> bool:
        """Remove a message; False if another thread did."""
        try:
            self._waiting.remove(item)
        except ValueError:
            return False
        return True

    def _fail(self, handle: DeliveryHandle, verb: str, error: BaseException) -> None:
        """Give a message its error. A close that is in progress reports the message."""
        emitter, accounting = self._connection.emitter, self.reports.accounting
        if accounting is None or client_of(handle) is not self:
            emitter.error(verb, error, message=handle.message)
        else:
            # The close logs all of them together.
            accounting.unsent.append((inf, handle.message))
            emitter.emit_error(verb, error, message=handle.message)
        fail(handle, error)
