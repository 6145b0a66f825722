"""`AsyncBuffered`: the verbs of the buffer and of transactions, for tasks."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from waterdrop_py._engine.assembly import Components
from waterdrop_py._settings.answering import awaited
from waterdrop_py.aio._transaction import TaskBlock
from waterdrop_py.aio._verbs import TaskVerbs
from waterdrop_py.aio.jobs import on_worker
from waterdrop_py.delivery import DeliveryReport
from waterdrop_py.message import HeadersInput, Key, MessageInput, Payload
from waterdrop_py.sender import Sender


class AsyncBuffered:
    """A base class of `AsyncSender`, which makes its parts. For any loop and thread."""

    __slots__ = ()
    _components: Components
    _sender: Sender
    _task_verbs: TaskVerbs

    # -- the buffer --------------------------------------------------------

    def buffer(
        self,
        topic: str,
        payload: Payload,
        *,
        key: Key = None,
        partition: int | None = None,
        partition_key: Key = None,
        timestamp: int | datetime | None = None,
        headers: HeadersInput = None,
        label: Any = None,
    ) -> None:
        """Keep a message in the process until the buffer is flushed. As the sync verb.

        Raises:
            ProducerClosedError: the producer is closed.
        """
        self._sender.buffer(
            topic,
            payload,
            key=key,
            partition=partition,
            partition_key=partition_key,
            timestamp=timestamp,
            headers=headers,
            label=label,
        )

    def buffer_many(self, messages: Iterable[MessageInput]) -> None:
        """Keep messages in the process until the buffer is flushed, all or none.

        Raises:
            MessageInvalidError: an item is neither a `Message` nor a mapping of one.
            ProducerClosedError: the producer is closed.
        """
        self._sender.buffer_many(messages)

    @awaited
    async def flush_buffer(self) -> list[DeliveryReport]:
        """Send the buffer, and wait for all reports, in the order of messages.

        After an error, and where it is cancelled, exactly what librdkafka has not
        queued is back in the buffer, at the front and in order. Waits for at most
        `max_wait_timeout`.

        Raises:
            MessageInvalidError: some are invalid; nothing was sent.
            ProduceManyError: some were not delivered.
            DeliveryTimeoutError: a report did not come in time; delivery goes on.
            ProducerClosedError: the producer is closed.
            Exception: what a step of the middleware raises; nothing was sent.
        """
        return await self._task_verbs.flush_buffer()

    @property
    def buffer_size(self) -> int:
        """The number of messages in the buffer."""
        return self._sender.buffer_size

    @awaited
    async def purge(self) -> None:
        """Drop the buffer, and everything that librdkafka has not delivered.

        Handles resolve with `purge_queue` or `purge_inflight`. It is carried through
        where it is cancelled. Opens nothing.

        Raises:
            ProducerClosedError: the producer is closed.
        """
        await on_worker(self._sender.purge)

    # -- transactions ------------------------------------------------------

    def transaction(self) -> AbstractAsyncContextManager[None, bool]:
        """`async with producer.transaction():` commits at the end.

        It aborts on any exception, which is raised again; `AbortTransaction` is
        swallowed. Nested blocks join the outer one. Tasks that are started inside send
        into it while it is open. Others wait for their turn, first come, first served,
        for at most `max_wait_timeout`. Each `async with` needs its own `transaction()`.

        Raises:
            ProducerNotTransactionalError: the producer has no `transactional.id`.
            ProducerClosedError: the producer is closed, or closing.
            DeliveryTimeoutError: the turn did not come in time.
            ProduceError: a command failed for good; or an inner block had failed.
            WaterdropError: this block is entered already.
        """
        return TaskBlock(self._components.needed_transactions())

    @property
    def in_transaction(self) -> bool:
        """Whether the calling context is inside a transaction of the producer."""
        return self._sender.in_transaction

    @awaited
    async def mark_as_consumed(
        self, consumer: Any, messages: Any, metadata: str | None = None
    ) -> None:
        """Commit consumed messages with the transaction, and only with it.

        As the sync verb: positions are collected, and sent before the commit. Never
        suspends.

        Raises:
            TransactionRequiredError: the calling context is in no transaction.
            TransactionalOffsetInvalidError: with every violation; nothing was
                collected.
        """
        self._sender.mark_as_consumed(consumer, messages, metadata)
