"""`Sender`: the verbs that send, which a producer and its variants have in common."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, NoReturn

from waterdrop_py._engine.assembly import Components
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.produce import hot_path, purge
from waterdrop_py._engine.produce.validation import as_message
from waterdrop_py._settings.arguments import seconds
from waterdrop_py._settings.foreign_names import (
    PRODUCER,
    Answering,
    answering,
    implemented_by,
)
from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
from waterdrop_py.message import HeadersInput, Key, Message, MessageInput, Payload


class Sender(metaclass=Answering, answers=PRODUCER):
    """The base class of `Producer` and `Variant`. Thread-safe."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_components",
        "_connection",
        "_middleware",
        "_plain",
        "_verbs",
    )

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *vars(self)})

    def __setattr__(self, name: str, value: object) -> None:
        # The instance has a `__dict__` so that tests can patch its methods.
        if not hasattr(type(self), name):
            text = f"{type(self).__name__!r} object has no attribute {name!r} to set"
            raise AttributeError(text, name=name, obj=self)
        object.__setattr__(self, name, value)

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be copied or pickled: it owns a client")

    def _adopt(self, components: Components) -> None:
        self._components = components
        self._connection = components.connection
        self._verbs = components.verbs
        self._middleware = components.middleware
        # Whether the fast path may send a plainly legal message without further checks.
        limited = components.config.max_payload_size is not None
        self._plain = components.transactions is None and not limited

    @implemented_by(hot_path.produce_async)
    def produce_async(  # type: ignore[empty-body]
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
    ) -> DeliveryHandle:
        """Send a message without waiting. The handle resolves with its delivery report.

        Blocks only to open the client (about a millisecond), for a full queue (at most
        `wait_timeout_on_queue_full`), and for the first look-up of a topic's partitions
        for a `partition_key` (at most 5 s). Thread-safe, and callable from callbacks,
        subscribers and signal handlers. Where the call that it interrupted has to end
        first, the message is sent then.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceError: librdkafka refused it; `queue_full` after the wait,
                `too_many_clients` if no client could be opened.
            ProducerClosedError: the producer is closed.
            ConfigurationInvalidError: the properties contradict each other, which
                librdkafka notices when the client is opened.
        """

    @answering
    def produce_sync(
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
        timeout: float | timedelta | None = None,
    ) -> DeliveryReport:
        """Send a message and wait for its delivery report.

        Blocks for at most `timeout` seconds (None: `max_wait_timeout`). Thread-safe.

        Raises:
            InvalidArgumentError: `timeout` is not a duration; nothing was sent.
            MessageInvalidError: with every violation; nothing was sent.
            ProduceError: it was not delivered; `__cause__` is the Kafka error.
            DeliveryTimeoutError: there was no report in time; delivery goes on.
            ProducerClosedError: the producer is closed.
            ReentrantCallError: only a call that this one interrupted could serve the
                report; nothing was sent.
        """
        message = Message(
            topic, payload, key, partition, partition_key, timestamp, headers, label
        )
        return self._verbs.produce_sync(message, seconds("timeout", timeout))

    @answering
    def produce_many_async(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryHandle]:
        """Send messages without waiting. Returns their handles, in input order.

        All are validated before any is sent. Blocks like `produce_async`.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError: librdkafka refused one; `dispatched` has the handles of
                those before it.
            ProducerClosedError: the producer is closed.
        """
        return self._verbs.produce_many_async(messages)

    @answering
    def produce_many_sync(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send messages and wait for all reports. Returns them in input order.

        All are validated before any is sent. Blocks for at most `max_wait_timeout`.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError: some were not delivered; raised once every handle in
                `dispatched` is final.
            DeliveryTimeoutError: a report did not come in time; delivery goes on.
            ProducerClosedError, ReentrantCallError: as `produce_sync`.
        """
        return self._verbs.produce_many_sync(messages)

    @answering
    def flush(self, timeout: float | timedelta | None = None) -> int:
        """Send the buffer, and wait until every message in flight has its outcome.

        Returns how many are still un-acknowledged. No message waits for its linger.
        What cannot be sent stays in the buffer and raises, as with
        `flush_buffer_async`. Blocks for at most `timeout` seconds (None: without a
        bound, also for messages that other threads send meanwhile). Opens no client if
        there is nothing to send.

        Raises:
            InvalidArgumentError: `timeout` is not a duration.
            ProducerClosedError: the producer is closed.
            ReentrantCallError: called inside a callback of the same client.
        """
        return self._components.flush(seconds("timeout", timeout))

    # -- tombstones --------------------------------------------------------

    @answering
    def tombstone_async(
        self,
        topic: str,
        *,
        key: Key,
        partition: int | None = None,
        headers: HeadersInput = None,
    ) -> DeliveryHandle:
        """Send a null payload for `key` without waiting. As `produce_async`."""
        message = self._tombstone(topic, key, partition, headers)
        return self._verbs.produce_async(message)

    @answering
    def tombstone_sync(
        self,
        topic: str,
        *,
        key: Key,
        partition: int | None = None,
        headers: HeadersInput = None,
    ) -> DeliveryReport:
        """Send a null payload for `key`, and wait. As `produce_sync`."""
        message = self._tombstone(topic, key, partition, headers)
        return self._verbs.produce_sync(message, None)

    @answering
    def tombstone_many_async(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryHandle]:
        """Send null payloads without waiting; a payload that is given is ignored.

        As `produce_many_async`; each message needs a key.
        """
        return self._verbs.produce_many_async(messages, null=True)

    @answering
    def tombstone_many_sync(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send null payloads, and wait; a payload that is given is ignored.

        As `produce_many_sync`; each message needs a key.
        """
        return self._verbs.produce_many_sync(messages, null=True)

    def _tombstone(self, topic: Any, key: Any, partition: Any, headers: Any) -> Message:
        given = {"topic": topic, "key": key, "partition": partition, "headers": headers}
        return as_message(given, null=True, whole=not self._middleware.steps)

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

        Raises:
            ProducerClosedError: the producer is closed.
        """
        message = Message(
            topic, payload, key, partition, partition_key, timestamp, headers, label
        )
        self._components.flusher.add(message)

    @answering
    def buffer_many(self, messages: Iterable[MessageInput]) -> None:
        """Keep messages in the process until the buffer is flushed, all or none.

        Raises:
            MessageInvalidError: an item is neither a `Message` nor a mapping of one.
            ProducerClosedError: the producer is closed.
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
        """
        return self._components.flusher.flush_async()

    def flush_buffer_sync(self) -> list[DeliveryReport]:
        """Send the buffer, and wait for all reports.

        As `flush_buffer_async`. After a transaction that was rolled back, all of it is
        back in the buffer. Blocks for at most `max_wait_timeout`.

        Raises:
            DeliveryTimeoutError, ReentrantCallError: as `produce_many_sync`.
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

        Raises:
            TransactionRequiredError: the calling context is in no transaction.
            TransactionalOffsetInvalidError: with every violation; also for a message
                that is an error of the consumer, and for a closed consumer. Nothing was
                collected.
        """
        self._components.mark_as_consumed(consumer, messages, metadata)
