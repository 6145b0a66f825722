"""The verbs that send: what a producer and its variants have in common."""

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
from waterdrop_py._settings.foreign_names import PRODUCER, Answering, answering
from waterdrop_py._settings.keywords import implemented_by
from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
from waterdrop_py.message import HeadersInput, Key, Message, MessageInput, Payload


class Sender(metaclass=Answering, answers=PRODUCER):
    """What sends. `Producer` and `Variant` are the two there are. Thread-safe."""

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
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r} to set",
                name=name,
                obj=self,
            )
        object.__setattr__(self, name, value)

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be copied or pickled: it owns a client")

    def _adopt(self, components: Components) -> None:
        self._components = components
        self._connection = components.connection
        self._verbs = components.verbs
        self._middleware = components.middleware
        # Whether a plainly legal message needs nothing but an open client.
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
        """Hand a message to librdkafka; the handle resolves with its report.

        Returns at once. It blocks only to open the client (about a millisecond),
        for a full queue (at most `wait_timeout_on_queue_full`), and for the first
        look-up of a topic's partitions for a `partition_key` (at most 5 s).
        Thread-safe, and callable from callbacks, subscribers and signal handlers:
        where the call that it interrupted has to end first, the message is sent then.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceError: librdkafka did not take it; `queue_full` after the wait,
                `too_many_clients` where no client could be opened for it.
            ProducerClosedError: the producer is closed.
            ConfigurationInvalidError: the properties contradict each other, which
                shows as the client is opened.
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
            DeliveryTimeoutError: the time is over; delivery goes on.
            ProducerClosedError: the producer is closed.
            ReentrantCallError: the report could only be served by a call that this
                one interrupted; nothing was sent.
        """
        message = Message(
            topic, payload, key, partition, partition_key, timestamp, headers, label
        )
        return self._verbs.produce_sync(message, seconds("timeout", timeout))

    @answering
    def produce_many_async(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryHandle]:
        """Hand messages to librdkafka; their handles, in input order.

        All are validated before any is sent. Blocks like `produce_async`.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError: librdkafka did not take one; `dispatched` has the
                handles of those before it.
            ProducerClosedError: the producer is closed.
        """
        return self._verbs.produce_many_async(messages)

    @answering
    def produce_many_sync(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send messages and wait for all reports, which come in input order.

        All are validated before any is sent. Blocks for at most `max_wait_timeout`.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError: some were not delivered; raised once every handle in
                `dispatched` is final.
            DeliveryTimeoutError: the time is over; delivery goes on.
            ProducerClosedError, ReentrantCallError: as `produce_sync`.
        """
        return self._verbs.produce_many_sync(messages)

    @answering
    def flush(self, timeout: float | timedelta | None = None) -> int:
        """Hand the buffer over, and wait until everything in flight has its outcome.

        Nothing waits out its linger. What the buffer cannot hand over stays in it, as
        with `flush_buffer_async`, and raises. Blocks for at most `timeout` seconds
        (None: until the last outcome, of what other threads send meanwhile too). Opens
        nothing when there is nothing. Returns how many messages are still
        un-acknowledged.

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
        """Send a null payload for `key`, without the wait. As `produce_async`."""
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
        """Send null payloads, without the wait; a payload given is ignored.

        As `produce_many_async`; each message needs a key.
        """
        return self._verbs.produce_many_async(messages, null=True)

    @answering
    def tombstone_many_sync(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send null payloads, and wait; a payload given is ignored.

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

        Neither validates nor opens anything, and never blocks. Thread-safe. Headers
        and payload are copied: what the caller changes later is not sent.

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
            MessageInvalidError: some are neither a `Message` nor a mapping of one.
            ProducerClosedError: the producer is closed.
        """
        self._components.flusher.add_many(messages)

    def flush_buffer_async(self) -> list[DeliveryHandle]:
        """Hand the buffer to librdkafka; handles in the order of the messages.

        What fails puts back, at the front and in order, exactly what was not handed
        over. Blocks like `produce_async`.

        Raises:
            MessageInvalidError: some are invalid; nothing was sent.
            ProduceManyError: librdkafka did not take one.
            ProducerClosedError: the producer is closed.
            What a step of the middleware raises; nothing was sent.
        """
        return self._components.flusher.flush_async()

    def flush_buffer_sync(self) -> list[DeliveryReport]:
        """Hand the buffer to librdkafka, and wait for all reports.

        As `flush_buffer_async`; and after a transaction that was rolled back, all of
        it is put back. Blocks for at most `max_wait_timeout`.

        Raises:
            DeliveryTimeoutError, ReentrantCallError: as `produce_many_sync`.
        """
        return self._components.flusher.flush_sync()

    @property
    def buffer_size(self) -> int:
        """Messages in the buffer."""
        check()
        return len(self._components.buffer)

    def purge(self) -> None:
        """Give up the buffer, and everything that librdkafka has not delivered.

        Handles resolve with `purge_queue` or `purge_inflight`; what was in flight may
        have reached the broker. Opens nothing; blocks for a second at most.

        Raises:
            ProducerClosedError: the producer is closed.
        """
        purge.purge(self._connection, self._components.buffer)

    # -- transactions ------------------------------------------------------

    def transaction(self) -> AbstractContextManager[None, bool]:
        """`with producer.transaction():` commits at the end, aborts on an exception.

        Any exception aborts and is raised again; `AbortTransaction` aborts and is
        swallowed. Blocks inside a block join it. Leaving with `return` or `break`
        commits. Threads take turns, and wait for at most `max_wait_timeout`. Each
        `with` takes a `transaction()` of its own.

        Raises:
            ProducerNotTransactionalError: there is no `transactional.id`.
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

        `consumer` is the `confluent_kafka.Consumer` (its group counts), `messages` a
        message that it returned, or an iterable of them. The positions are collected,
        which asks no broker. Before the commit the highest of each partition, with its
        metadata, is sent once for each consumer, whose group metadata is read then.
        A refusal, a rebalance since the first mark and a consumer that was closed
        meanwhile abort the transaction and are raised at the end of its block.
        Never blocks. Thread-safe.

        Raises:
            TransactionRequiredError: not inside a transaction.
            TransactionalOffsetInvalidError: with every violation; also for a message
                that is an error of the consumer, and for a consumer that is closed.
                Nothing was collected.
        """
        self._components.mark_as_consumed(consumer, messages, metadata)
