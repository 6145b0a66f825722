"""`AsyncSender`: the coroutines that send, of a producer and of its variants."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import count
from typing import Any, cast

from waterdrop_py._front_end import components_of, tombstone_of
from waterdrop_py._settings.answering import Patchable, awaited, implemented_by
from waterdrop_py._settings.arguments import seconds
from waterdrop_py._settings.foreign_names import ASYNC_PRODUCER
from waterdrop_py.aio import _fast
from waterdrop_py.aio._buffered import AsyncBuffered
from waterdrop_py.aio._flush import flush
from waterdrop_py.aio._verbs import TaskVerbs
from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
from waterdrop_py.message import HeadersInput, Key, Message, MessageInput, Payload
from waterdrop_py.sender import Sender


class _LongWay:
    """What the fast path asks of the verbs: it hands back what it cannot send."""

    __slots__ = ("_inner",)

    def __init__(self, sender: Sender) -> None:
        self._inner = components_of(sender).verbs

    def inside_open_transaction(self) -> bool:
        """As of the verbs."""
        return self._inner.inside_open_transaction()

    def fail_transaction(self, error: BaseException) -> None:
        """As of the verbs."""
        self._inner.fail_transaction(error)

    def produce_async(self, message: Message) -> DeliveryHandle:
        """Return the message itself: the caller sends it, and waits for what it has to.

        That it is no handle is told by its type.
        """
        return cast("DeliveryHandle", message)


class AsyncSender(AsyncBuffered, Patchable, answers=ASYNC_PRODUCER):
    """The base class of `AsyncProducer` and `AsyncVariant`. For any loop and thread."""

    __slots__ = (
        "__weakref__",
        "_components",
        "_connection",
        "_max_wait",
        "_middleware",
        "_plain",
        "_queue",
        "_sender",
        "_sends",
        "_task_verbs",
        "_verbs",
    )

    def _adopt(self, sender: Sender) -> None:
        components = components_of(sender)
        self._sender = sender
        self._components = components
        self._task_verbs = TaskVerbs(components)
        self._queue = self._task_verbs.queue
        self._sends = count(1)
        self._max_wait = components.max_wait_timeout
        # What the fast path reads.
        self._connection = components.connection
        self._middleware = components.middleware
        self._verbs: Any = _LongWay(sender)
        limited = components.config.max_payload_size is not None
        self._plain = components.transactions is None and not limited

    # -- one message -------------------------------------------------------

    @implemented_by(_fast.send)
    async def send(  # type: ignore[empty-body]
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
        """Hand a message over. The handle resolves with its delivery report.

        `await handle` waits for that report, on any loop. Suspends only to open the
        client (about a millisecond), for a full queue (at most
        `wait_timeout_on_queue_full`), for the first look-up of a topic's partitions for
        a `partition_key` (at most 5 s), behind messages that wait for these, and once
        for every 250 messages, so that the loop runs. With a `transactional.id` and
        outside a transaction, it suspends for one of its own. Cancelled while the
        message waits, it is never sent.

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
            DeliveryTimeoutError: with a `transactional.id`: other transactions did not
                end within `max_wait_timeout`; nothing was sent.
            ProducerClosedError: the producer is closed, or closing.
            ConfigurationInvalidError: the properties contradict each other, which
                librdkafka notices when the client is opened.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         handle = await producer.send("orders", b"first", key="42")
            ...         print((await handle).topic)
            >>> asyncio.run(main())
            orders
        """

    @implemented_by(_fast.produce)
    async def produce(  # type: ignore[empty-body]
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
        """Send a message, and wait for its delivery report.

        Suspends for at most `timeout` seconds (None: `max_wait_timeout`). Cancelled
        before the message is handed over, it is never sent; later, the delivery goes
        on. To know the outcome after a timeout, `send` it and await the handle.

        Args:
            topic, payload, key, partition, partition_key, timestamp, headers, label:
                as in `send`.
            timeout: seconds, or a `timedelta`.

        Raises:
            InvalidArgumentError: `timeout` is not a duration; nothing was sent.
            MessageInvalidError: with every violation; nothing was sent.
            ProduceError: it was not delivered; `__cause__` is the Kafka error.
                `queue_full`: it found no room, and was not sent.
            DeliveryTimeoutError: there was no report in time; delivery goes on. With a
                `transactional.id` also as in `send`; nothing was sent then.
            ProducerClosedError: the producer is closed, or closing.
            ConfigurationInvalidError: as in `send`.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         report = await producer.produce("orders", b"first", timeout=10)
            ...         print(report.topic, report.error)
            >>> asyncio.run(main())
            orders None
        """

    @awaited
    async def tombstone(
        self,
        topic: str,
        *,
        key: Key,
        partition: int | None = None,
        headers: HeadersInput = None,
    ) -> DeliveryReport:
        """Send a null payload for `key`, and wait. As `produce`.

        Suspends for at most `max_wait_timeout`.

        Args:
            topic, key, partition, headers: as in `send`; the key is required.

        Raises:
            MessageInvalidError, ProduceError, DeliveryTimeoutError: as `produce`.
            ProducerClosedError, ConfigurationInvalidError: as `produce`.
        """
        message = tombstone_of(self._sender, topic, key, partition, headers)
        return await self._task_verbs.produce(message, None)

    # -- many --------------------------------------------------------------

    @awaited
    async def send_many(self, messages: Iterable[MessageInput]) -> list[DeliveryHandle]:
        """Hand messages over. Returns their handles, in input order.

        All are validated before any is sent. Suspends like `send`. Cancelled, what was
        handed over goes on, and the rest is never sent.

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError: librdkafka refused one; `dispatched` has the handles of
                those before it.
            DeliveryTimeoutError, ProducerClosedError, ConfigurationInvalidError: as
                `send`.

        Example:
            >>> import asyncio
            >>> batch = [{"topic": "orders", "payload": each} for each in (b"1", b"2")]
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         for handle in await producer.send_many(batch):
            ...             print((await handle).error)
            >>> asyncio.run(main())
            None
            None
        """
        return await self._task_verbs.send_many(messages)

    @awaited
    async def produce_many(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send messages, and wait for all reports. Returns them in input order.

        All are validated before any is sent. Suspends for at most `max_wait_timeout`.
        Cancelled, what was handed over goes on, and the rest is never sent.

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError: some were not delivered; raised once every handle in
                `dispatched` is final.
            DeliveryTimeoutError: a report did not come in time; delivery goes on. With
                a `transactional.id` also as in `send`; nothing was sent then.
            ProducerClosedError, ConfigurationInvalidError: as `send`.

        Example:
            >>> import asyncio
            >>> batch = [Message("orders", b"1"), Message("orders", b"2")]
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         reports = await producer.produce_many(batch)
            ...         print([report.error for report in reports])
            >>> asyncio.run(main())
            [None, None]
        """
        return await self._task_verbs.produce_many(messages)

    @awaited
    async def tombstone_many(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send null payloads, and wait; a payload that is given is ignored.

        As `produce_many`; each message needs a key.

        Args:
            messages: each a `Message`, or a mapping of its fields.

        Raises:
            MessageInvalidError: with every violation; nothing was sent.
            ProduceManyError, DeliveryTimeoutError: as `produce_many`.
            ProducerClosedError, ConfigurationInvalidError: as `produce_many`.
        """
        return await self._task_verbs.produce_many(messages, null=True)

    @awaited
    async def flush(
        self,
        timeout: float | timedelta | None = None,
    ) -> int:
        """Send the buffer, and wait until every message in flight has its outcome.

        Returns how many are still un-acknowledged. No message waits for its linger.
        What cannot be sent stays in the buffer and raises. Suspends for at most
        `timeout` seconds (None: without a bound, also for messages that others send
        meanwhile). Opens no client if there is nothing to send. Cancelled, the wait
        ends, and what was handed over goes on.

        Args:
            timeout: seconds, or a `timedelta`.

        Raises:
            InvalidArgumentError: `timeout` is not a duration.
            MessageInvalidError: some of the buffer are invalid; nothing was sent.
            ProduceManyError: librdkafka refused one of the buffer.
            DeliveryTimeoutError: with a `transactional.id`, as `send`.
            ProducerClosedError: the producer is closed, or closing.
            Exception: what a step of the middleware raises; nothing was sent.

        Example:
            >>> import asyncio
            >>> async def main():
            ...     async with AsyncProducer(config) as producer:
            ...         await producer.send("orders", b"first")
            ...         print(await producer.flush(timeout=10))
            >>> asyncio.run(main())
            0
        """
        return await flush(
            self._components, self._task_verbs, seconds("timeout", timeout)
        )
