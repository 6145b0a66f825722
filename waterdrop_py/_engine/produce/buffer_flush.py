"""From the buffer to librdkafka, and back with what did not get there."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from waterdrop_py._engine.client.pending import client_of, undelivered
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.connection.states import Refusal
from waterdrop_py._engine.produce.buffer import message_of
from waterdrop_py._engine.produce.validation import snapshots
from waterdrop_py._engine.produce.verbs import about
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
    from waterdrop_py._engine.produce.verbs import Verbs
    from waterdrop_py._engine.reports.accounting import Placed
    from waterdrop_py._engine.transactions.manager import Transactions
    from waterdrop_py.delivery import DeliveryReport
    from waterdrop_py.message import Message, MessageInput


class Flusher:
    """The buffer's verbs. Thread-safe, no lock; see `Buffer`."""

    __slots__ = ("_buffer", "_connection", "_dispatch", "_emitter", "_txns", "_verbs")

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
        self._txns = transactions

    def watch(self) -> None:
        """Have the slot ask before it closes a client, and when it closes for good."""
        hooks = self._connection.hooks
        hooks.keep_client_while(self._hold)
        hooks.on_reset(self._forget)
        hooks.send_before_close(self._before_close)

    def _hold(self) -> Refusal | None:
        """What a buffer that is not empty has against a close of the client."""
        size = len(self._buffer)
        return Refusal("buffered", size) if size else None

    def _forget(self) -> None:
        """A forked child starts with an empty buffer: the parent's is the parent's."""
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
        if self._connection.shutdown is not None and self._buffer.withdraw(entries):
            self._connection.refuse_closed()
            self._buffer.put_back(entries)  # closed by the exit handler, and open again
        if self._connection.runtime.ended:
            self.flush_async()  # nothing comes behind it that would

    def flush_async(self) -> list[DeliveryHandle]:
        """Hand the buffer over."""
        started = clock.system_now()
        handles = self._hand_over("messages.produce_many_async", wait=False)
        self._tell("buffer.flushed_async", handles, started)
        return handles

    def flush_before(self, deadline: float | None) -> None:
        """Hand the buffer over; a full queue is waited for until `deadline` at most."""
        self._dispatch.refuse_inside_callback()
        started = clock.system_now()
        verb = "messages.produce_many_async"
        handles = self._hand_over(verb, wait=False, deadline=deadline)
        self._tell("buffer.flushed_async", handles, started)

    def flush_sync(self) -> list[DeliveryReport]:
        """Hand the buffer over, and wait for the reports."""
        self._dispatch.refuse_inside_callback()
        started = clock.system_now()
        handles = self._hand_over("messages.produce_many_sync", wait=True)
        self._tell("buffer.flushed_sync", handles, started)
        return [handle.result(0) for handle in handles]

    def _hand_over(
        self, verb: str, *, wait: bool, deadline: float | None = None
    ) -> list[DeliveryHandle]:
        # In a forked child, the buffer is empty after it.
        self._connection.refuse_closed()
        entries = self._buffer.take()
        handles: list[DeliveryHandle] = []
        own = self._txns is not None and self._txns.current() is None
        try:
            handles = self._verbs.fill_entries(entries)
            if handles:
                with self._verbs.block():
                    if wait:
                        self._verbs.send_and_wait(handles, verb)
                    else:
                        self._verbs.send_all(handles, verb, deadline)
        except BaseException as error:
            # Of a transaction of its own that was rolled back nothing is visible.
            left = entries if own else _not_handed_over(entries, handles, error)
            self._buffer.put_back(_unsent(left))
            raise
        return handles

    def _tell(self, name: str, handles: list[DeliveryHandle], started: float) -> None:
        if self._emitter.listens(name):
            self._emitter.emit(
                name,
                {"messages": [handle.message for handle in handles]},
                duration_ms=(clock.system_now() - started) * 1000,
            )

    def _before_close(self, deadline: float, *, force: bool) -> list[Placed]:
        """Hand the buffer over for the last time; what cannot be is returned.

        An invalid message, or one that finds no room, does not stop the close.
        """
        if self._txns is not None:
            self._txns.shut(deadline)
        entries = self._buffer.take()
        if force or not entries:
            return _behind_all(entries)
        if self._txns is not None:
            try:
                return self._in_one_transaction(self._txns, entries, deadline)
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
                    # The close goes on: the report has the message.
                    self._emitter.error("messages.produce_many_async", error)
                    # Behind what has a number, before what gets one.
                    unsent.append((peek(self._connection.client.sent) - 0.5, one[0]))
                left.popleft()
        except BaseException:
            if left and handle is not None and client_of(handle) is not None:
                left.popleft()  # it is in the client
            # Whoever goes on with the close finds the rest.
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
                # The close goes on: the report has the message.
                self._emitter.error("messages.produce_many_async", error)
                unsent += one
            entries[index] = one[0]
        try:
            with transactions.block(deadline, last=True):
                self._verbs.send_all(handles, "messages.produce_many_async", deadline)
        except Exception as error:
            if from_signal_handler(error):
                raise
            # The close goes on: the report has the messages.
            self._emitter.error("messages.produce_many_async", error)
            return _behind_all(unsent + self._rolled_back(sound, handles))
        return _behind_all(unsent)

    def _rolled_back(
        self, entries: list[Entry], handles: list[DeliveryHandle]
    ) -> list[Entry]:
        """What no report accounts for, and what was delivered for nothing."""
        failed = set(map(id, undelivered(handles)))
        drain = self._connection.reports.start_drain()
        drain.take_back(len(handles) - len(failed))
        return [
            entry
            for entry, handle in zip(entries, handles, strict=True)
            if client_of(handle) is None or id(handle) not in failed
        ]


def _behind_all(entries: list[Entry]) -> list[Placed]:
    return [(math.inf, message_of(kept)) for _, kept in entries]


def _unsent(entries: list[Entry]) -> list[Entry]:
    """The entries, with none that keeps a handle of somebody's.

    A handle that was sent, and came to nothing with its transaction, has its outcome.
    """
    return [
        (number, message_of(kept) if _was_sent(kept) else kept)
        for number, kept in entries
    ]


def _was_sent(kept: Kept) -> bool:
    return isinstance(kept, DeliveryHandle) and client_of(kept) is not None


def _not_handed_over(
    entries: list[Entry], handles: list[DeliveryHandle], error: BaseException
) -> list[Entry]:
    """The entries whose message never reached librdkafka."""
    if isinstance(error, ProduceManyError):
        return entries[len(error.dispatched) :]
    if not handles:
        return entries
    reached = zip(entries, handles, strict=True)
    return [entry for entry, handle in reached if client_of(handle) is None]
