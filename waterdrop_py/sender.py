"""`Sender`: the verbs that send, which a producer and its variants have in common."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from waterdrop_py._buffered import Buffered
from waterdrop_py._engine.assembly import Components
from waterdrop_py._engine.produce import hot_path
from waterdrop_py._engine.produce.validation import as_message
from waterdrop_py._settings.answering import Patchable, answering, implemented_by
from waterdrop_py._settings.arguments import seconds
from waterdrop_py._settings.foreign_names import PRODUCER
from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
from waterdrop_py.message import HeadersInput, Key, Message, MessageInput, Payload


class Sender(Buffered, Patchable, answers=PRODUCER):
    """The base class of `Producer` and `Variant`. Thread-safe."""

    __slots__ = (
        "__weakref__",
        "_components",
        "_connection",
        "_middleware",
        "_plain",
        "_verbs",
    )

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

        Args:
            topic: `[A-Za-z0-9._-]{1,249}`.
            payload: bytes or text; None is a null payload (a tombstone).
            key: bytes or text, not empty. It chooses the partition if nothing else
                does.
            partition: 0 or more; None and -1 let the partitioner choose.
            partition_key: chooses the partition, and is never sent.
            timestamp: milliseconds since the epoch, or an aware datetime.
            headers: a mapping or pairs, with bytes, text or None.
            label: any object; the handle and the report have it.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceError: librdkafka refused it; `queue_full` after the wait,
                `too_many_clients` if no client could be opened.
            ProducerClosedError: the producer is closed.
            ConfigurationInvalidError: the properties contradict each other, which
                librdkafka notices when the client is opened.

        Example:
            >>> handle = producer.produce_async("orders", b"first", key="42")
            >>> handle.result(timeout=10).topic
            'orders'
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

        Args:
            topic, payload, key, partition, partition_key, timestamp, headers, label:
                as in `produce_async`.
            timeout: seconds, or a `timedelta`.

        Raises:
            InvalidArgumentError: `timeout` is not a duration; nothing was sent.
            MessageInvalidError: with every violation; nothing was sent.
            ProduceError: it was not delivered; `__cause__` is the Kafka error.
            DeliveryTimeoutError: there was no report in time; delivery goes on.
            ProducerClosedError: the producer is closed.
            ReentrantCallError: only a call that this one interrupted could serve the
                report; nothing was sent.

        Example:
            >>> report = producer.produce_sync("orders", b"first", timeout=10)
            >>> report.topic, report.error
            ('orders', None)
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

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError: librdkafka refused one; `dispatched` has the handles of
                those before it.
            ProducerClosedError: the producer is closed.

        Example:
            >>> batch = [{"topic": "orders", "payload": each} for each in (b"1", b"2")]
            >>> len(producer.produce_many_async(batch))
            2
        """
        return self._verbs.produce_many_async(messages)

    @answering
    def produce_many_sync(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send messages and wait for all reports. Returns them in input order.

        All are validated before any is sent. Blocks for at most `max_wait_timeout`.

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError: some were not delivered; raised once every handle in
                `dispatched` is final.
            DeliveryTimeoutError: a report did not come in time; delivery goes on.
            ProducerClosedError, ReentrantCallError: as `produce_sync`.

        Example:
            >>> batch = [Message("orders", b"1"), Message("orders", b"2")]
            >>> [report.error for report in producer.produce_many_sync(batch)]
            [None, None]
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

        Args:
            timeout: seconds, or a `timedelta`.

        Raises:
            InvalidArgumentError: `timeout` is not a duration.
            ProducerClosedError: the producer is closed.
            ReentrantCallError: called inside a callback of the same client.

        Example:
            >>> handle = producer.produce_async("orders", b"first")
            >>> producer.flush(timeout=10)
            0
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
        """Send a null payload for `key` without waiting. As `produce_async`.

        Args:
            topic, key, partition, headers: as in `produce_async`; the key is required.

        Example:
            >>> handle = producer.tombstone_async("users", key="42")
        """
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
        """Send a null payload for `key`, and wait. As `produce_sync`.

        Args:
            topic, key, partition, headers: as in `produce_async`; the key is required.

        Example:
            >>> producer.tombstone_sync("users", key="42").message.payload is None
            True
        """
        message = self._tombstone(topic, key, partition, headers)
        return self._verbs.produce_sync(message, None)

    @answering
    def tombstone_many_async(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryHandle]:
        """Send null payloads without waiting; a payload that is given is ignored.

        As `produce_many_async`; each message needs a key.

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Example:
            >>> gone = [{"topic": "users", "key": key} for key in ("42", "43")]
            >>> handles = producer.tombstone_many_async(gone)
        """
        return self._verbs.produce_many_async(messages, null=True)

    @answering
    def tombstone_many_sync(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send null payloads, and wait; a payload that is given is ignored.

        As `produce_many_sync`; each message needs a key.

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Example:
            >>> gone = [{"topic": "users", "key": key} for key in ("42", "43")]
            >>> len(producer.tombstone_many_sync(gone))
            2
        """
        return self._verbs.produce_many_sync(messages, null=True)

    def _tombstone(self, topic: Any, key: Any, partition: Any, headers: Any) -> Message:
        given = {"topic": topic, "key": key, "partition": partition, "headers": headers}
        return as_message(given, null=True, whole=not self._middleware.steps)
