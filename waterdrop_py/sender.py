"""The verbs that send: what a producer and its variants have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine import clock, flushing, purging
from waterdrop_py._engine.arguments import seconds
from waterdrop_py._engine.contract import (
    KNOWN_TOPICS,
    as_message,
    checked_offset,
    plain_headers,
    snapshots,
)
from waterdrop_py._engine.dispatch import REFUSED
from waterdrop_py._engine.keywords import BY_KEYWORD, ByKeyword, keyword_only
from waterdrop_py._engine.reentrance import leaseholder
from waterdrop_py._engine.unhooked import HOME, check
from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
from waterdrop_py.errors import ProducerNotTransactionalError, TransactionRequiredError
from waterdrop_py.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from waterdrop_py._engine.parts import Parts
    from waterdrop_py.message import HeadersInput, Key, MessageInput, Payload


class Sender:
    """What sends. `Producer` and `Variant` are the two there are. Thread-safe."""

    __slots__ = ("__weakref__", "_middleware", "_parts", "_plain", "_slot", "_verbs")

    def _adopt(self, parts: Parts) -> None:
        self._parts = parts
        self._slot = parts.slot
        self._verbs = parts.verbs
        self._middleware = parts.middleware
        # Whether a plainly legal message needs nothing but an open client.
        limited = parts.config.max_payload_size is not None
        self._plain = parts.transactions is None and not limited

    # -- sending -----------------------------------------------------------

    @keyword_only
    @leaseholder
    def produce_async(  # noqa: PLR0915 - the hot path, in one piece
        self,
        topic: str,
        payload: Payload,
        _: ByKeyword = BY_KEYWORD,
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
        # The fast path: a message that is plainly legal, on a client that is open
        # and busy. See `ClientSlot` and `Dispatch` for what the steps protect.
        if (
            _ is BY_KEYWORD
            and type(payload) is bytes
            and type(topic) is str
            and topic in KNOWN_TOPICS
            and (key is None or (type(key) is bytes and key))
            and partition is None
            and partition_key is None
            and timestamp is None
            and (headers is None or (plain := plain_headers(headers)) is not None)
            and not self._middleware.steps
            and (self._plain or self._verbs.joined())
        ):
            slot = self._slot
            life = slot.life
            inuse = life.inuse
            handle = DeliveryHandle()
            handle._topic = topic
            handle._payload = payload
            handle._key = key
            handle._label = label
            try:
                inuse.append(None)
                if (
                    slot.life is life
                    and not life.quiet
                    and HOME[0]
                    and not slot.reports.hears_sends
                ):
                    handle._life = life
                    handle._seq = next(life.sent)
                    if headers is None:
                        life.produce(topic, payload, key, -1, handle)  # type: ignore[misc]
                        return handle
                    handle._headers = plain
                    handle._place = None
                    life.produce(  # type: ignore[misc]
                        topic, payload, key, -1, handle, handle, 0, plain
                    )
                    return handle
            except REFUSED:
                # The long way meets the same refusal, and has its policy.
                next(life.refused)
            except BaseException as error:
                life.torn = True
                self._verbs.doom(error)
                raise
            finally:
                inuse.pop()
        if _ is not BY_KEYWORD:
            raise TypeError(
                "produce_async() takes topic and payload by position, and everything "
                "else by keyword"
            )
        return self._verbs.produce_async(
            Message(
                topic, payload, key, partition, partition_key, timestamp, headers, label
            )
        )

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
            InvalidArgumentError: `timeout` is no duration; nothing was sent.
            MessageInvalidError: with every violation; nothing was sent.
            ProduceError: it was not delivered; `__cause__` is the Kafka error.
            DeliveryTimeoutError: the time is over; delivery goes on.
            ProducerClosedError: the producer is closed.
            ReentrantCallError: the report could only be served by a call that this
                one interrupted; nothing was sent.
        """
        bound = seconds("timeout", timeout)
        return self._verbs.produce_sync(
            Message(
                topic, payload, key, partition, partition_key, timestamp, headers, label
            ),
            bound,
        )

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

    def flush(self, timeout: float | timedelta | None = None) -> int:
        """Hand the buffer over, and wait until everything in flight has its outcome.

        Nothing waits out its linger. What the buffer cannot hand over stays in it, as
        with `flush_buffer_async`, and raises. Blocks for at most `timeout` seconds
        (None: until the last outcome, of what other threads send meanwhile too). Opens
        nothing when there is nothing. Returns how many messages are still
        un-acknowledged.

        Raises:
            InvalidArgumentError: `timeout` is no duration.
            ProducerClosedError: the producer is closed.
            ReentrantCallError: called inside a callback of the same client.
        """
        bound = seconds("timeout", timeout)
        deadline = None if bound is None else clock.system_now() + bound
        if self._parts.buffer:
            self._parts.flusher.flush_before(deadline)
        left = None if deadline is None else max(0.0, deadline - clock.system_now())
        return flushing.flush(self._slot, left)

    # -- tombstones --------------------------------------------------------

    def tombstone_async(
        self,
        topic: str,
        *,
        key: Key,
        partition: int | None = None,
        headers: HeadersInput = None,
    ) -> DeliveryHandle:
        """Send a null payload for `key`, without the wait. As `produce_async`."""
        given = {"topic": topic, "key": key, "partition": partition, "headers": headers}
        return self._verbs.produce_async(self._tombstone(given))

    def tombstone_sync(
        self,
        topic: str,
        *,
        key: Key,
        partition: int | None = None,
        headers: HeadersInput = None,
    ) -> DeliveryReport:
        """Send a null payload for `key`, and wait. As `produce_sync`."""
        given = {"topic": topic, "key": key, "partition": partition, "headers": headers}
        return self._verbs.produce_sync(self._tombstone(given), None)

    def tombstone_many_async(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryHandle]:
        """Send null payloads, without the wait; a payload given is ignored.

        As `produce_many_async`; each message needs a key.
        """
        return self._verbs.produce_many_async(messages, null=True)

    def tombstone_many_sync(
        self, messages: Iterable[MessageInput]
    ) -> list[DeliveryReport]:
        """Send null payloads, and wait; a payload given is ignored.

        As `produce_many_sync`; each message needs a key.
        """
        return self._verbs.produce_many_sync(messages, null=True)

    def _tombstone(self, given: dict[str, Any]) -> Message:
        return as_message(given, null=True, whole=not self._middleware.steps)

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

        Neither validates nor opens anything, and never blocks. Thread-safe.

        Raises:
            ProducerClosedError: the producer is closed.
        """
        self._parts.flusher.add(
            Message(
                topic, payload, key, partition, partition_key, timestamp, headers, label
            )
        )

    def buffer_many(self, messages: Iterable[MessageInput]) -> None:
        """Keep messages in the process until the buffer is flushed, all or none.

        Raises:
            MessageInvalidError: some are neither a `Message` nor a mapping of one.
            ProducerClosedError: the producer is closed.
        """
        self._parts.flusher.add_many(snapshots(messages))

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
        return self._parts.flusher.flush_async()

    def flush_buffer_sync(self) -> list[DeliveryReport]:
        """Hand the buffer to librdkafka, and wait for all reports.

        As `flush_buffer_async`; and after a transaction that was rolled back, all of
        it is put back. Blocks for at most `max_wait_timeout`.

        Raises:
            DeliveryTimeoutError, ReentrantCallError: as `produce_many_sync`.
        """
        return self._parts.flusher.flush_sync()

    @property
    def buffer_size(self) -> int:
        """Messages in the buffer."""
        check()
        return len(self._parts.buffer)

    def purge(self) -> None:
        """Give up the buffer, and everything that librdkafka has not delivered.

        Handles resolve with `purge_queue` or `purge_inflight`; what was in flight may
        have reached the broker. Opens nothing; blocks for a second at most.

        Raises:
            ProducerClosedError: the producer is closed.
        """
        purging.purge(self._parts)

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
        transactions = self._parts.transactions
        if transactions is None:
            raise ProducerNotTransactionalError(
                "transactions need a transactional.id in the producer's kafka settings"
            )
        return transactions.block()

    @property
    def in_transaction(self) -> bool:
        """Whether the calling context is inside a transaction of the producer."""
        transactions = self._parts.transactions
        return transactions is not None and transactions.current() is not None

    def mark_as_consumed(
        self, consumer: Any, message: Any, metadata: str | None = None
    ) -> None:
        """Commit a consumed message's offset with the transaction, and only with it.

        `consumer` is the `confluent_kafka.Consumer` (its group counts), `message` what
        it returned: its offset + 1 is stored. Blocks for the broker's answer.

        Raises:
            TransactionRequiredError: not inside a transaction.
            TransactionalOffsetInvalidError: with every violation; also for a message
                that is an error of the consumer, and for a consumer that is closed.
            ProduceError: the broker did not take it.
        """
        transactions = self._parts.transactions
        running = None if transactions is None else transactions.current()
        if transactions is None or running is None:
            raise TransactionRequiredError(
                "mark_as_consumed() is for the inside of `with producer.transaction():`"
            )
        offset = checked_offset(consumer, message, metadata)
        transactions.mark(running, consumer, message, offset)
