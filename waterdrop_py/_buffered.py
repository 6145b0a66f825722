"""`Buffered`: the verbs of the buffer and of transactions, which every sender has."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from waterdrop_py._engine.assembly import Components
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.produce import purge
from waterdrop_py._settings.answering import answering
from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
from waterdrop_py.message import HeadersInput, Key, Message, MessageInput, Payload


class Buffered:
    """A base class of `Sender`, which makes its parts. Thread-safe."""

    __slots__ = ()
    _components: Components
    _connection: Connection

    # -- the buffer --------------------------------------------------------

    @answering
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

        Validates nothing, opens nothing, and never blocks. Thread-safe. Headers and
        payload are copied, so that later changes by the caller have no effect.

        Args:
            topic, payload, key, partition, partition_key, timestamp, headers, label:
                as in `produce_async`.

        Raises:
            ProducerClosedError: the producer is closed.

        Example:
            >>> producer.buffer("audit", b"seen")
            >>> producer.buffer_size
            1
        """
        message = Message(
            topic, payload, key, partition, partition_key, timestamp, headers, label
        )
        self._components.flusher.add(message)

    @answering
    def buffer_many(self, messages: Iterable[MessageInput]) -> None:
        """Keep messages in the process until the buffer is flushed, all or none.

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Raises:
            MessageInvalidError: an item is neither a `Message` nor a mapping of one.
            ProducerClosedError: the producer is closed.

        Example:
            >>> producer.buffer_many([Message("audit", b"1"), Message("audit", b"2")])
            >>> producer.buffer_size
            2
        """
        self._components.flusher.add_many(messages)

    def flush_buffer_async(self) -> list[DeliveryHandle]:
        """Send the buffer without waiting. Returns handles in the order of messages.

        After an error, exactly what librdkafka has not queued is back in the buffer, at
        the front and in order. Blocks like `produce_async`.

        Raises:
            MessageInvalidError: some are invalid; nothing was sent.
            ProduceManyError: librdkafka refused one.
            ProducerClosedError: the producer is closed.
            Exception: what a step of the middleware raises; nothing was sent.

        Example:
            >>> producer.buffer("audit", b"seen")
            >>> [handle.result(10).topic for handle in producer.flush_buffer_async()]
            ['audit']
        """
        return self._components.flusher.flush_async()

    def flush_buffer_sync(self) -> list[DeliveryReport]:
        """Send the buffer, and wait for all reports.

        As `flush_buffer_async`. After a transaction that was rolled back, all of it is
        back in the buffer. Blocks for at most `max_wait_timeout`.

        Raises:
            DeliveryTimeoutError, ReentrantCallError: as `produce_many_sync`.

        Example:
            >>> producer.buffer("audit", b"seen")
            >>> [report.error for report in producer.flush_buffer_sync()]
            [None]
        """
        return self._components.flusher.flush_sync()

    @property
    def buffer_size(self) -> int:
        """The number of messages in the buffer."""
        check()
        return len(self._components.buffer)

    def purge(self) -> None:
        """Drop the buffer, and everything that librdkafka has not delivered.

        Handles resolve with `purge_queue` or `purge_inflight`. A message that was in
        flight may have reached the broker. Blocks for 1 s at most. Opens nothing.

        Raises:
            ProducerClosedError: the producer is closed.

        Example:
            >>> producer.buffer("audit", b"never sent")
            >>> producer.purge()
            >>> producer.buffer_size
            0
        """
        purge.purge(self._connection, self._components.buffer)

    # -- transactions ------------------------------------------------------

    def transaction(self) -> AbstractContextManager[None, bool]:
        """`with producer.transaction():` commits at the end, aborts on an exception.

        Any exception aborts and is raised again; `AbortTransaction` aborts and is
        swallowed. Nested blocks join the outer one. Leaving with `return` or `break`
        commits. One thread at a time is inside; the others wait for at most
        `max_wait_timeout`. Each `with` needs its own `transaction()`.

        Raises:
            ProducerNotTransactionalError: the producer has no `transactional.id`.
            ProducerClosedError: the producer is closed.
            ProduceError: a command failed for good; or an inner block had failed.
                `fenced` stays, for every verb. `transaction_timed_out`: the block took
                longer than `transaction.timeout.ms`, and the next one works.
            ReentrantCallError: the calling context would wait for itself.
            WaterdropError: this block is entered already.

        Example:
            >>> kafka = {"bootstrap.servers": "localhost:9092", "transactional.id": "t"}
            >>> with Producer(kafka=kafka) as producer, producer.transaction():
            ...     handle = producer.produce_async("payments", b"first")
            >>> handle.result().error is None
            True
        """
        return self._components.transaction_block()

    @property
    def in_transaction(self) -> bool:
        """Whether the calling context is inside a transaction of the producer."""
        return self._components.in_transaction()

    def mark_as_consumed(
        self, consumer: Any, messages: Any, metadata: str | None = None
    ) -> None:
        """Commit consumed messages with the transaction, and only with it.

        `consumer` is a `confluent_kafka.Consumer`, whose group is used. `messages` is a
        message that it returned, or an iterable of them. Their positions are collected
        without asking a broker. Before the commit, the highest of each partition is
        sent with its metadata, once for each consumer; its group metadata is read then.
        A refusal, a rebalance since the first mark, and a consumer that was closed
        meanwhile abort the transaction and are raised at the end of its block. Never
        blocks. Thread-safe.

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

                with producer.transaction():
                    producer.produce_async("invoices", invoice_for(message.value()))
                    producer.mark_as_consumed(consumer, message)
        """
        self._components.mark_as_consumed(consumer, messages, metadata)
