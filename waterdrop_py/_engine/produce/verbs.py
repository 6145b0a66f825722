"""The sending verbs: validate, send, wait, and emit events."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from waterdrop_py._engine.client.pending import (
    overdue,
    refuse,
    wait_until,
)
from waterdrop_py._engine.client.poll_lock import SLICE
from waterdrop_py._engine.client.waiting import leaves_polling
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.produce import outcomes
from waterdrop_py._engine.produce.buffer import Ready, to_send
from waterdrop_py._engine.produce.deferred import send_or_defer
from waterdrop_py._engine.produce.hot_path import send_run
from waterdrop_py._engine.produce.validation import (
    Violations,
    as_messages,
    fill,
    fill_others,
    fill_run,
    listed,
    to_wait_for,
)
from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
from waterdrop_py.errors import (
    ProduceError,
)
from waterdrop_py.message import untraced
from waterdrop_py.middleware import end_traces

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.produce.buffer import Entry
    from waterdrop_py._engine.produce.dispatch import Dispatch
    from waterdrop_py._engine.transactions.manager import Transactions
    from waterdrop_py.message import Message, MessageInput
    from waterdrop_py.middleware import Middleware


PRODUCE_ASYNC: Final = "message.produce_async"
PRODUCE_SYNC: Final = "message.produce_sync"
PRODUCE_MANY_ASYNC: Final = "messages.produce_many_async"
PRODUCE_MANY_SYNC: Final = "messages.produce_many_sync"
"""The types of the errors of the verbs."""


Filling: TypeAlias = "Generator[None, None, list[DeliveryHandle]]"
"""Makes the handles of a batch; it yields where other code may run."""


def exhausted(filling: Filling) -> list[DeliveryHandle]:
    """The handles, without a pause."""
    while True:
        try:
            next(filling)
        except StopIteration as end:
            handles: list[DeliveryHandle] = end.value
            return handles


class Verbs:
    """What the sending methods of `Sender` do. Thread-safe, no lock."""

    __slots__ = (
        "_dispatch",
        "_emitter",
        "_limit",
        "_max_wait",
        "_middleware",
        "_transactions",
    )

    def __init__(
        self,
        dispatch: Dispatch,
        emitter: Emitter,
        middleware: Middleware,
        transactions: Transactions | None,
        *,
        max_payload_size: int | None,
        max_wait_timeout: float,
    ) -> None:
        self._dispatch = dispatch
        self._emitter = emitter
        self._middleware = middleware
        self._transactions = transactions
        self._limit = max_payload_size
        self._max_wait = max_wait_timeout

    def block(self, deadline: float = inf) -> AbstractContextManager[object]:
        """The context of one call: its own transaction, or nothing."""
        return (
            nullcontext()
            if self._transactions is None
            else self._transactions.block(deadline)
        )

    def inside_open_transaction(self) -> bool:
        """Whether a plainly legal message belongs to a transaction that is open.

        It takes the fast path then. A transaction of 100 messages takes 1.1 of a bare
        one's time that way, and 1.2 otherwise.
        """
        transactions = self._transactions
        if transactions is None or self._limit is not None:
            return False
        return transactions.inside_open()

    def fail_transaction(self, error: BaseException) -> None:
        """A send was interrupted: its transaction, if there is one, is aborted."""
        if self._transactions is not None:
            self._transactions.fail(error)

    def produce_async(self, message: Message) -> DeliveryHandle:
        """Send one message, without the wait."""
        verb = PRODUCE_ASYNC
        message, handle = self.filled(message)
        try:
            send_or_defer(self._dispatch, handle, verb, self._transactions)
        except BaseException as error:
            self.refused(handle, verb, error, message)
            raise
        outcomes.tell_sent(self._emitter, handle)
        return handle

    def filled(self, message: Message) -> tuple[Message, DeliveryHandle]:
        """What the middleware makes of `message`, and a handle with it."""
        check()
        message = self._middleware.run(message)
        try:
            return message, fill(message, self._limit)
        except BaseException as error:
            end_traces([message], error)
            raise

    def refused(
        self,
        handle: DeliveryHandle,
        verb: str,
        error: BaseException,
        message: Message,
    ) -> None:
        """Tell that a message was not sent, or not delivered in time."""
        refuse([handle], error)
        if isinstance(error, ProduceError):
            self._emitter.error(verb, error, message=untraced(message))

    def produce_sync(self, message: Message, timeout: float | None) -> DeliveryReport:
        """Send one message, and wait for its report."""
        verb = PRODUCE_SYNC
        message, handle = self.filled(message)
        to_wait_for(handle)
        started = clock.system_now()
        limit = "max_wait_timeout" if timeout is None else "timeout"
        deadline = started + (self._max_wait if timeout is None else timeout)
        try:
            self._dispatch.refuse_inside_callback()
            with self.block(deadline):
                report = self._send_and_serve(handle, verb, started, deadline, limit)
        except BaseException as error:
            self.refused(handle, verb, error, message)
            raise
        outcomes.tell_delivered(self._emitter, report, started)
        return report

    def _send_and_serve(
        self,
        handle: DeliveryHandle,
        verb: str,
        started: float,
        deadline: float,
        limit: str,
    ) -> DeliveryReport:
        try:
            self._dispatch.send(handle, verb, deadline, serves=not leaves_polling())
            if self._dispatch.unnoted:
                # Threads that start now would delay the report.
                wait_until(handle, min(clock.system_now() + SLICE, deadline))
                self._dispatch.introduce(handle)
            if not wait_until(handle, deadline):
                raise overdue(handle, deadline - started, limit)
            return handle.result(0)
        finally:
            self._dispatch.introduce(handle)

    def produce_many_async(
        self, messages: Iterable[MessageInput], *, null: bool = False
    ) -> list[DeliveryHandle]:
        """Send a batch, without the wait. `null`: tombstones."""
        handles = self._all_filled(messages, null=null)
        try:
            with self.block():
                self.send_all(handles, PRODUCE_MANY_ASYNC, None)
        except BaseException as error:
            refuse(handles, error)
            raise
        outcomes.tell_all_sent(self._emitter, handles)
        return handles

    def produce_many_sync(
        self, messages: Iterable[MessageInput], *, null: bool = False
    ) -> list[DeliveryReport]:
        """Send a batch, and wait for all its reports. `null`: tombstones."""
        handles = self._all_filled(messages, null=null)
        started = clock.system_now()
        try:
            self._dispatch.refuse_inside_callback()
            with self.block():
                self.send_and_wait(handles, PRODUCE_MANY_SYNC)
        except BaseException as error:
            refuse(handles, error)
            raise
        outcomes.tell_all_delivered(self._emitter, handles, started)
        return [handle.result(0) for handle in handles]

    def send_and_wait(self, handles: list[DeliveryHandle], verb: str) -> None:
        """Send all, and wait until each has its outcome.

        Raises:
            ProduceManyError: some were not delivered.
            DeliveryTimeoutError: the time is over.
        """
        deadline = clock.system_now() + self._max_wait
        self.send_all(handles, verb, deadline)
        failure = self._first_failure(handles, deadline)
        if failure is not None:
            outcomes.raise_undelivered(self._emitter, failure, handles, verb)

    def fill_entries(self, entries: list[Entry]) -> list[DeliveryHandle]:
        """Handles for buffered messages; see `filling_entries`."""
        return exhausted(self.filling_entries(entries, step=None))

    def filling_entries(self, entries: list[Entry], *, step: int | None) -> Filling:
        """Handles for buffered messages, in steps of `step` messages; None: in one.

        Each message goes through the middleware once: what that returns takes its place
        in `entries`.

        Raises:
            MessageInvalidError: some are invalid.
            What a step of the middleware raises.
        """
        step = step or max(1, len(entries))
        if self._middleware.steps:
            for index, (number, kept) in enumerate(entries, 1):
                if not isinstance(kept, Ready):
                    ran = self._middleware.run(to_send(kept))
                    entries[index - 1] = number, Ready(ran)
                if index % step == 0:
                    yield
        found = Violations()
        handles: list[DeliveryHandle] = []
        for start in range(0, len(entries), step):
            run: list[Any] = [kept for _, kept in entries[start : start + step]]
            others = [
                index
                for index, kept in enumerate(run)
                # The size of a message that is a handle has not been checked yet.
                if self._limit is not None or type(kept) is not DeliveryHandle
            ]
            for index in others:
                run[index] = to_send(run[index])
            handles += fill_others(run, others, self._limit, found, start)
            yield
        found.end()
        return handles

    def _all_filled(
        self, given: Iterable[MessageInput], *, null: bool
    ) -> list[DeliveryHandle]:
        """A handle for each message. All are validated before any is sent."""
        return exhausted(self.filling(listed(given), null=null, step=None))

    def filling(self, batch: list[Any], *, null: bool, step: int | None) -> Filling:
        """`_all_filled` in steps of `step` messages; None: in one."""
        check()
        if not batch:
            self._dispatch.refuse_closed()  # else the first send does
        step = step or max(1, len(batch))
        try:
            if self._middleware.steps:
                batch, null = as_messages(batch, null=null), False
                for start in range(0, len(batch), step):
                    run = batch[start : start + step]
                    batch[start : start + step] = self._middleware.run_all(run)
                    if start + step < len(batch):
                        yield
            found = Violations()
            handles: list[DeliveryHandle] = []
            for start in range(0, len(batch), step):
                run = batch[start : start + step]
                handles += fill_run(run, self._limit, found, start, null=null)
                if start + step < len(batch):
                    yield
            found.end()
        except BaseException as error:
            end_traces(batch, error)
            raise
        return handles

    def send_all(
        self, handles: list[DeliveryHandle], verb: str, deadline: float | None
    ) -> None:
        """Send all, and raise at the first refusal.

        With a `deadline`, wait for the reports of those before it first.

        Raises:
            ProduceManyError: with the handles of those before it.
        """
        count = 0
        connection = self._dispatch.connection
        while (count := send_run(connection, handles, count)) < len(handles):
            handle = handles[count]
            try:
                if deadline is None:
                    send_or_defer(self._dispatch, handle, verb, self._transactions)
                else:
                    self._dispatch.send(handle, verb, deadline)
            except ProduceError as failure:
                if deadline is not None:
                    self._first_failure(handles[:count], deadline)
                outcomes.raise_refused(self._emitter, failure, handles, count, verb)
            count += 1

    def _first_failure(
        self, handles: list[DeliveryHandle], deadline: float
    ) -> ProduceError | None:
        """Wait for every handle. Returns the first error, in input order.

        It is a `DeliveryTimeoutError` if a handle has no outcome by then.
        """
        for handle in handles:
            if not handle.done() and not wait_until(handle, deadline):
                return overdue(handle, self._max_wait, "max_wait_timeout")
        return outcomes.first_error(handles)
