"""The buffer's verbs: add, flush, put back what was not sent; the flush of a close."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from waterdrop_py._engine.client.pending import client_of, refuse, undelivered
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.connection.states import Refusal
from waterdrop_py._engine.produce.buffer import drop, message_of
from waterdrop_py._engine.produce.outcomes import about
from waterdrop_py._engine.produce.validation import snapshots
from waterdrop_py._engine.produce.verbs import exhausted
from waterdrop_py._engine.shutdown.children import watch_exit
from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.errors import ProduceManyError
from waterdrop_py.message import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.produce.buffer import Buffer, Entry, Kept
    from waterdrop_py._engine.produce.dispatch import Dispatch
    from waterdrop_py._engine.produce.verbs import Filling, Verbs
    from waterdrop_py._engine.reports.accounting import Placed
    from waterdrop_py._engine.transactions.manager import Transactions
    from waterdrop_py.delivery import DeliveryReport
    from waterdrop_py.message import Message, MessageInput


class Flusher:
    """The buffer's verbs. Thread-safe, no lock; see `Buffer`."""

    __slots__ = (
        "_buffer",
        "_connection",
        "_dispatch",
        "_emitter",
        "_transactions",
        "_verbs",
    )

    def __init__(
        self,
        buffer: Buffer,
        verbs: Verbs,
        dispatch: Dispatch,
        connection: Connection,
        emitter: Emitter,
        transactions: Transactions | None,
    ) -> None:
        self._buffer = buffer
        self._verbs = verbs
        self._dispatch = dispatch
        self._connection = connection
        self._emitter = emitter
        self._transactions = transactions

    def register_hooks(self) -> None:
        """Have the connection ask before it closes a client, and flush in `close`."""
        self._connection.hooks.add_buffered(self)

    def refusal(self) -> Refusal | None:
        """Why the client may not be closed: the buffer is not empty."""
        size = len(self._buffer)
        return Refusal("buffered", size) if size else None

    def reset(self) -> None:
        """Empty the buffer in a forked child: its messages belong to the parent."""
        self._buffer.take()

    def add(self, message: Message) -> None:
        """Append a message, as it is now."""
        message = snapshot(message)
        self._append([message])
        if self._emitter.listens("message.buffered"):
            self._emitter.emit("message.buffered", about(message))

    def add_many(self, given: Iterable[MessageInput]) -> None:
        """Append messages, as they are now, all at once."""
        kept = snapshots(given)
        self._append(kept)
        if self._emitter.listens("messages.buffered"):
            messages = [message_of(each) for each in kept]
            self._emitter.emit("messages.buffered", {"messages": messages})

    def _append(self, messages: Sequence[Kept]) -> None:
        self._connection.refuse_closed()
        self._connection.runtime.register(self._connection)
        watch_exit()
        entries = self._buffer.add(messages)
        if self._connection.is_closing and self._buffer.withdraw(entries):
            self._connection.refuse_closed()
            self._buffer.put_back(entries)  # a send after the exit handler's close
        if self._connection.runtime.ended:
            self.flush_async()  # the process ends, and nothing would flush it later

    def flush_async(self) -> list[DeliveryHandle]:
        """Send the buffer. Returns without waiting for reports."""
        started = clock.system_now()
        handles = self._send("messages.produce_many_async", wait=False)
        self.tell_flushed("buffer.flushed_async", handles, started)
        return handles

    def flush_before(self, deadline: float | None) -> None:
        """Send the buffer; wait for room in the queue until `deadline` at most."""
        self._dispatch.refuse_inside_callback()
        started = clock.system_now()
        verb = "messages.produce_many_async"
        handles = self._send(verb, wait=False, deadline=deadline)
        self.tell_flushed("buffer.flushed_async", handles, started)

    def flush_sync(self) -> list[DeliveryReport]:
        """Send the buffer, and wait for the reports."""
        self._dispatch.refuse_inside_callback()
        started = clock.system_now()
        handles = self._send("messages.produce_many_sync", wait=True)
        self.tell_flushed("buffer.flushed_sync", handles, started)
        return [handle.result(0) for handle in handles]

    def _send(
        self, verb: str, *, wait: bool, deadline: float | None = None
    ) -> list[DeliveryHandle]:
        flush = self.begin()
        try:
            handles = flush.fill()
            if handles:
                with self._verbs.block(math.inf if deadline is None else deadline):
                    if wait:
                        self._verbs.send_and_wait(handles, verb)
                    else:
                        self._verbs.send_all(handles, verb, deadline)
        except BaseException as error:
            flush.put_back(error)
            raise
        return handles

    def begin(self) -> Flush:
        """Take what is buffered, to send it."""
        self._connection.refuse_closed()  # in a forked child, this empties the buffer
        own = self._transactions is not None and self._transactions.current() is None
        return Flush(self._buffer, self._verbs, own=own)

    def tell_flushed(
        self, name: str, handles: list[DeliveryHandle], started: float
    ) -> None:
        """Emit that the buffer was sent. `started`: on the system's clock."""
        if self._emitter.listens(name):
            self._emitter.emit(
                name,
                {"messages": [handle.message for handle in handles]},
                duration_ms=(clock.system_now() - started) * 1000,
            )

    def before_close(self, deadline: float, *, force: bool) -> list[Placed]:
        """Send the buffer, the deferred and the queued messages as the producer closes.

        Returns those of the buffer that could not be sent. Once senders are refused,
        the other messages that are left are given up.
        """
        unsent = self._send_before_close(deadline, force=force)
        hooks = self._connection.hooks
        for waiting in (hooks.deferred, hooks.queue):
            if waiting is None:
                continue
            if self._connection.is_closing:
                waiting.give_up()
            elif not force:
                waiting.flush(deadline)
        return unsent

    def _send_before_close(self, deadline: float, *, force: bool) -> list[Placed]:
        """Send the buffer as the producer closes. Returns what could not be sent.

        An invalid message, or one that finds no room, does not stop the close.
        """
        if self._transactions is not None:
            self._transactions.shut(deadline)
        entries = self._buffer.take()
        if force or not entries:
            drop(entries)
            return _after_all(entries)
        if self._transactions is not None:
            try:
                return self._in_one_transaction(self._transactions, entries, deadline)
            except BaseException:
                self._buffer.put_back(_unsent(entries))
                raise
        return self._one_by_one(entries, deadline)

    def _one_by_one(self, entries: list[Entry], deadline: float) -> list[Placed]:
        unsent: list[tuple[float, Entry]] = []
        left = deque(entries)
        handle: DeliveryHandle | None = None
        try:
            while left:
                handle, one = None, [left[0]]
                try:
                    [handle] = self._verbs.fill_entries(one)
                    left[0] = one[0]
                    self._dispatch.send(handle, "messages.produce_many_async", deadline)
                except Exception as error:
                    if from_signal_handler(error):
                        raise
                    # The close continues, and its report has the message.
                    self._emitter.error("messages.produce_many_async", error)
                    drop(one, error)
                    # Its place: after the messages sent so far, before the next ones.
                    unsent.append((peek(self._connection.client.sent) - 0.5, one[0]))
                left.popleft()
        except BaseException:
            if left and handle is not None and client_of(handle) is not None:
                left.popleft()  # the client has it
            # The thread that continues the close finds the rest in the buffer.
            self._buffer.put_back([*(entry for _, entry in unsent), *left])
            raise
        return [(place, message_of(kept)) for place, (_, kept) in unsent]

    def _in_one_transaction(
        self, transactions: Transactions, entries: list[Entry], deadline: float
    ) -> list[Placed]:
        handles: list[DeliveryHandle] = []
        sound: list[Entry] = []
        unsent: list[Entry] = []
        for index, entry in enumerate(entries):
            one = [entry]
            try:
                handles += self._verbs.fill_entries(one)
                sound += one
            except Exception as error:
                if from_signal_handler(error):
                    raise
                # The close continues, and its report has the message.
                self._emitter.error("messages.produce_many_async", error)
                drop(one, error)
                unsent += one
            entries[index] = one[0]
        try:
            with transactions.block(deadline, last=True):
                self._verbs.send_all(handles, "messages.produce_many_async", deadline)
        except Exception as error:
            if from_signal_handler(error):
                raise
            # The close continues, and its report has the messages.
            self._emitter.error("messages.produce_many_async", error)
            refuse(handles, error)
            return _after_all(unsent + self._rolled_back(sound, handles))
        return _after_all(unsent)

    def _rolled_back(
        self, entries: list[Entry], handles: list[DeliveryHandle]
    ) -> list[Entry]:
        """Entries without a report, and those whose delivery the abort undid."""
        failed = set(map(id, undelivered(handles)))
        accounting = self._connection.reports.accounting
        if accounting is not None:
            accounting.take_back(len(handles) - len(failed))
        return [
            entry
            for entry, handle in zip(entries, handles, strict=True)
            if client_of(handle) is None or id(handle) not in failed
        ]


class Flush:
    """What one flush has taken out of the buffer."""

    __slots__ = ("_buffer", "_entries", "_handles", "_own", "_verbs")

    def __init__(self, buffer: Buffer, verbs: Verbs, *, own: bool) -> None:
        """`own`: it has a transaction of its own, which is rolled back as a whole."""
        self._buffer = buffer
        self._verbs = verbs
        self._own = own
        self._entries = buffer.take()
        self._handles: list[DeliveryHandle] = []

    def fill(self) -> list[DeliveryHandle]:
        """Handles for all of it; raises what `Verbs.filling_entries` does."""
        return exhausted(self.filling(None))

    def filling(self, step: int | None) -> Filling:
        """`fill`, in steps of `step` messages; None: in one."""
        self._handles = yield from self._verbs.filling_entries(self._entries, step=step)
        return self._handles

    def put_back(self, error: BaseException) -> None:
        """Put back what was not sent, because of `error`."""
        left = (
            self._entries
            if self._own
            else _not_sent(self._entries, self._handles, error)
        )
        self._buffer.put_back(_unsent(left))


def _after_all(entries: list[Entry]) -> list[Placed]:
    return [(math.inf, message_of(kept)) for _, kept in entries]


def _unsent(entries: list[Entry]) -> list[Entry]:
    """The entries, each with a message in place of a handle that was sent.

    Such a handle has its outcome already: its transaction was rolled back.
    """
    return [
        (number, message_of(kept) if _was_sent(kept) else kept)
        for number, kept in entries
    ]


def _was_sent(kept: Kept) -> bool:
    return isinstance(kept, DeliveryHandle) and client_of(kept) is not None


def _not_sent(
    entries: list[Entry], handles: list[DeliveryHandle], error: BaseException
) -> list[Entry]:
    """The entries whose message librdkafka never queued."""
    if isinstance(error, ProduceManyError):
        return entries[len(error.dispatched) :]
    if not handles:
        return entries
    pairs = zip(entries, handles, strict=True)
    return [entry for entry, handle in pairs if client_of(handle) is None]
