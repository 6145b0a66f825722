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
        """Keep a message in the process until the buffer is flushed.

        Validates nothing, opens nothing, and neither blocks nor suspends. Headers and
        payload are copied, so that later changes by the caller have no effect.

        Args:
            topic, payload, key, partition, partition_key, timestamp, headers, label:
                as in `send`.

        Raises:
            ProducerClosedError: the producer is closed.

        Example:
            >>> producer = AsyncProducer(config)
            >>> producer.buffer("audit", b"seen")
            >>> producer.buffer_size
            1
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

        Neither blocks nor suspends.

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Raises:
            MessageInvalidError: an item is neither a `Message` nor a mapping of one.
            ProducerClosedError: the producer is closed.
        """
        self._sender.buffer_many(messages)

    @awaited
    async def flush_buffer(self) -> list[DeliveryReport]:
        """Send the buffer, and wait for all reports, in the order of messages.

        After an error, and where it is cancelled, exactly what librdkafka has not
        queued is back in the buffer, at the front and in order. After a transaction
        that was rolled back, all of it is. Suspends for at most `max_wait_timeout`.

        Raises:
            MessageInvalidError: some are invalid; nothing was sent.
            ProduceManyError: some were not delivered.
            DeliveryTimeoutError: a report did not come in time; delivery goes on.
            ProducerClosedError: the producer is closed, or closing.
            Exception: what a step of the middleware raises; nothing was sent.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         producer.buffer("audit", b"seen")
            ...         for report in await producer.flush_buffer():
            ...             print(report.topic, report.error)
            >>> asyncio.run(main())
            audit None
        """
        return await self._task_verbs.flush_buffer()

    @property
    def buffer_size(self) -> int:
        """The number of messages in the buffer."""
        return self._sender.buffer_size

    @awaited
    async def purge(self) -> None:
        """Drop the buffer, and everything that librdkafka has not delivered.

        Handles resolve with `purge_queue` or `purge_inflight`. A message that was in
        flight may have reached the broker. Suspends for 1 s at most. It is carried
        through where it is cancelled. Opens nothing.

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

        The call itself neither blocks nor suspends. Entering the block suspends for the
        turn and for the begin, leaving it for the commit or the abort. Cancelled inside
        the block, the transaction is aborted. Cancelled as it ends, the commit or abort
        is carried through, and the next transaction waits for it.

        Raises:
            ProducerNotTransactionalError: the producer has no `transactional.id`; the
                call raises it. The block raises the others.
            ProducerClosedError: the producer is closed, or closing.
            DeliveryTimeoutError: the turn did not come in time; nothing was begun.
            ProduceError: a command failed for good; or an inner block had failed.
                `fenced` stays, for every verb. `transaction_timed_out`: the block took
                longer than `transaction.timeout.ms`, and the next one works.
            WaterdropError: this block is entered already.

        Example:
            >>> import asyncio
            >>> kafka = {"bootstrap.servers": "localhost:9092", "transactional.id": "t"}
            >>> async def main():
            ...     async with AsyncProducer(kafka=kafka) as producer:
            ...         async with producer.transaction():
            ...             handle = await producer.send("payments", b"first")
            ...         print(handle.done(), (await handle).error)
            >>> asyncio.run(main())
            True None
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

        Their positions are collected without asking a broker, so this never suspends.
        Before the commit, the highest of each partition is sent with its metadata, once
        for each consumer; its group metadata is read then. A refusal, a rebalance since
        the first mark, and a consumer that was closed meanwhile abort the transaction
        and are raised at the end of its block.

        Args:
            consumer: the `confluent_kafka.Consumer` that returned the messages.
            messages: one of them, or an iterable.
            metadata: text that is stored beside each position.

        Raises:
            TransactionRequiredError: the calling context is in no transaction.
            TransactionalOffsetInvalidError: with every violation; also for a message
                that is an error of the consumer, and for a closed consumer. Nothing was
                collected.

        Example:
            .. code-block:: python

                async with producer.transaction():
                    await producer.send("invoices", invoice_for(message.value()))
                    await producer.mark_as_consumed(consumer, message)
        """
        self._sender.mark_as_consumed(consumer, messages, metadata)
