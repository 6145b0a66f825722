"""From a valid message to librdkafka: lease, produce, queue-full policy."""

from __future__ import annotations

from contextlib import nullcontext
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.borrow_marks import borrower, ends_step, in_deferred
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py._engine.client.kafka_errors import (
    code_name,
    queue_full_error,
    refusal_of,
)
from waterdrop_py._engine.client.pending import ANYWHERE, Place, fail, subject_of
from waterdrop_py._engine.client.subjects import limit_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.contained import from_signal_handler
from waterdrop_py._engine.concurrency.unhooked_forks import HOME
from waterdrop_py._engine.connection import metadata
from waterdrop_py._engine.connection.partitions import (
    GONE,
    LOOK_UP,
    moved,
    partition_of,
    refresh,
)
from waterdrop_py._engine.connection.resending import Moved
from waterdrop_py._settings.reading import number_of
from waterdrop_py.errors import (
    ProduceError,
    ReentrantCallError,
    about,
    shared,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.recovery import Recovery
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.config import Config
    from waterdrop_py.delivery import DeliveryHandle

# What a client raises for a message that it did not take. Anything else that comes
# out of the call (a signal handler's exception) leaves that open: it may not be sent
# again, and its number is settled when the client has nothing left
# (`Client.counters_uncertain`).
REFUSED: Final = (BufferError, KafkaException)


_QUEUE_SIZE: Final = "queue.buffering.max.kbytes"


def _arm(client: Client) -> None:
    """Have it served, whatever a signal handler raises meanwhile; twice does no harm
    (test_a_handler_that_raises_as_the_poller_is_told)."""
    try:
        client.poll_soon(client)
    except BaseException:
        client.poll_soon(client)
        raise


class Dispatch:
    """Hands messages to the client of one slot. Thread-safe, no lock."""

    __slots__ = ("_config", "_connection", "_emitter", "_recovery")

    def __init__(
        self,
        config: Config,
        connection: Connection,
        emitter: Emitter,
        recovery: Recovery | None = None,
    ) -> None:
        self._recovery = recovery
        self._config = config
        self._connection = connection
        self._emitter = emitter

    def send(
        self,
        handle: DeliveryHandle,
        verb: str,
        deadline: float | None = None,
        *,
        serves: bool = False,
    ) -> None:
        """Hand a filled `handle` to librdkafka, opening a client if need be.

        The caller `serves` the report itself: the poller need not, and does not get
        in its way (p50 of `produce_sync` 1.25 of bare instead of 1.4).

        It sees to `introduce` itself then, whatever is raised.

        Blocks for an open, for the first look-up of a topic's partitions, and for a
        full queue; until `deadline` at most, where there is one.

        Raises:
            ProduceError, ProducerClosedError, ReentrantCallError: nothing was sent.
        """
        give_up = self._give_up_at(deadline)
        partition = self._partition(handle, deadline)
        try:
            while True:
                client = self._ready(handle, deadline)
                try:
                    if self._produce(handle, client, partition, serves=serves):
                        return
                except BufferError as full:
                    self._wait_for_room(handle, client, verb, full, give_up)
                except KafkaException as refused:
                    elsewhere = self._moved(handle, refused, deadline)
                    if elsewhere is None:
                        self._recover(handle, client, refused)
                    else:
                        partition = elsewhere
                finally:
                    if client.refusals:
                        self._connection.reschedule()
        finally:
            self._sent(handle, serves=serves)

    def _give_up_at(self, deadline: float | None) -> float:
        """Until when a full queue is waited for."""
        patience = clock.system_now() + self._config.wait_timeout_on_queue_full / 1000
        return patience if deadline is None else min(patience, deadline)

    def _sent(self, handle: DeliveryHandle, *, serves: bool) -> None:
        """What comes behind a message, with the client open."""
        connection, place = self._connection, handle._place
        if not serves:
            connection.introduce()
        connection.topic = handle._topic
        if place is not None and place.partition_key is not None:
            refresh(connection, handle._topic)

    @property
    def unnoted(self) -> bool:
        """Whether the client is not made known to the background threads yet."""
        return self._connection.unnoted

    def introduce(self, handle: DeliveryHandle) -> None:
        """Have the background threads know of a client that was opened for `handle`."""
        try:
            self._connection.introduce()
        finally:
            client: Client | None = handle._client
            if client is not None and not client.poll_at:
                client.poll_soon(client)  # the poller does not know this client yet

    def refuse_closed(self) -> None:
        """Raise `ProducerClosedError` from the beginning of the close on."""
        self._connection.refuse_closed()

    def refuse_inside_callback(self) -> None:
        """For verbs that wait: nothing is sent whose report could not come.

        Raises:
            ReentrantCallError: this thread is inside a callback of the same client.
        """
        if self._connection.client.polled_by_this_thread():
            raise ReentrantCallError(
                "a verb that waits was called inside a callback or subscriber of the "
                "same client, which holds up its reports; nothing was sent"
            )

    def send_or_defer(self, handle: DeliveryHandle, verb: str) -> None:
        """`send`, and where it would wait for the very call that it interrupted,
        leave the message to the end of that call.

        Raises:
            ProduceError, ProducerClosedError: nothing was sent.
        """
        try:
            self.send(handle, verb)
        except ReentrantCallError:
            connection = self._connection
            after = (
                connection.when_free
                if connection.mine
                else connection.client.after_turn
            )
            self.defer(handle, verb, after, nullcontext)

    def defer(
        self,
        handle: DeliveryHandle,
        verb: str,
        after: Callable[[Callable[[], None]], None],
        block: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Send `handle` inside `block()` when `after` says that nothing hinders."""
        handle._client = waiting_room = Client(
            self._connection.reports, self._connection.runtime.poller.poll_soon
        )
        waiting_room.blocked = self._inside
        handle._seq = -get_ident()
        after(lambda: self._send_deferred(handle, verb, block))

    def _inside(self) -> bool:
        """Whether this thread is still inside what a deferred message waits for."""
        connection = self._connection
        within = connection.inside is not None and connection.inside()
        return (
            within
            or connection.mine
            or connection.client.polled_by_this_thread()
            or in_deferred(connection)
        )

    @ends_step
    def _send_deferred(
        self,
        handle: DeliveryHandle,
        verb: str,
        block: Callable[[], AbstractContextManager[object]],
    ) -> None:
        try:
            with block():
                self.send_or_defer(handle, verb)
        except BaseException as error:
            if from_signal_handler(error):
                self._after_interruption(handle, verb, block)
                raise
            self._emitter.error(verb, error, message=handle.message)
            # Without the traceback: its frames have the handle.
            fail(handle._client, handle, error.with_traceback(None))

    def _ready(self, handle: DeliveryHandle, deadline: float | None) -> Client:
        try:
            return self._connection.open(deadline)
        except ProduceError as error:
            raise about(shared(error), subject_of(handle)) from error.__cause__

    def _after_interruption(
        self,
        handle: DeliveryHandle,
        verb: str,
        block: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """A deferred send was interrupted: another thread goes on. Not once the message
        has a number: it is not known then whether it was sent, once or not at all."""
        if handle._seq < 0:
            self._connection.runtime.workers.submit(
                lambda: self._send_deferred(handle, verb, block)
            )
        elif not handle.done():
            error = ProduceError(
                "a signal handler raised as this message was handed over: whether it "
                "was sent is not known (report_lost)",
                code="report_lost",
            )
            fail(handle._client, handle, error)

    def _partition(self, handle: DeliveryHandle, deadline: float | None) -> int:
        place = handle._place
        if place is None:
            return -1
        if place.partition is not None:
            return place.partition
        if place.partition_key is None:
            return -1
        return partition_of(
            self._connection, handle._topic, place.partition_key, deadline
        )

    def _moved(
        self, handle: DeliveryHandle, refused: KafkaException, deadline: float | None
    ) -> int | None:
        """The partition for a message that was refused because its own does not
        exist; None: the refusal stands. Once for each message, and never in a
        transaction, which a refused message ends."""
        connection, place = self._connection, handle._place
        error: Any = refusal_of(refused)
        if type(place) is not Place or connection.reports.transactional:
            return None
        if code_name(error) not in GONE:
            return None
        handle._place = Moved(*place)
        until = clock.system_now() + LOOK_UP
        if deadline is not None:
            until = min(until, deadline)
        topic = handle._topic
        return moved(
            connection.partitions,
            topic,
            place,
            lambda: metadata.ask(connection, topic, until),
        )

    @borrower
    def _produce(  # noqa: PLR0915 - each step where no exception leaves a mark
        self, handle: DeliveryHandle, client: Client, partition: int, *, serves: bool
    ) -> bool:
        """Produce on `client` under a lease; False when it is not the slot's any more.

        The mark is set before the look at the slot; see `Connection`. Whoever ends
        the quiet arms the poller, also when the message is refused: the next sender
        finds no quiet, and relies on it (test_a_refusal_on_a_quiet_client_arms).
        """
        woken = sent = False
        place = handle._place
        try:
            # Within the `try`: CPython runs signal handlers after a call and not
            # before it, so whatever is raised here finds the mark set.
            client.borrows.append(None)
            if self._connection.client is not client:
                return False
            self._connection.reports.note_topic(handle._topic)
            if client.quiet:
                woken = True
                client.quiet = False
                client.last_activity = clock.now()
            handle._client = client
            handle._seq = next(client.sent)
            try:
                client.produce(  # type: ignore[misc]
                    handle._topic,
                    handle._payload,
                    handle._key,
                    partition,
                    handle,
                    handle,
                    0 if place is None else place.timestamp or 0,
                    handle._headers,
                )
            except REFUSED:
                next(client.refused)
                del handle._client  # it is in no client
                raise
            except BaseException as error:
                client.counters_uncertain = True
                raise_interruption(error)
                raise
            sent = True
            return True
        finally:
            try:
                client.borrows.pop()
            finally:
                if woken and not (serves and sent):
                    _arm(client)

    @borrower
    def send_run(  # noqa: PLR0915 - a hot loop, in one piece
        self, handles: list[DeliveryHandle], start: int
    ) -> int:
        """Hand over handles from `start` on, under one lease, as far as nothing is in
        the way; the index of the first that was not. `send` has the policies."""
        connection = self._connection
        client = connection.client
        count = start
        try:
            client.borrows.append(None)
            # `send` would try again what a foreign client has refused here.
            moved = connection.client is not client or not HOME[0]
            if moved or client.quiet or connection.reports.foreign:
                return count
            produce: Any = client.produce
            run = handles[start:] if start else handles
            handle: DeliveryHandle
            for handle, handle._seq in zip(run, client.sent):  # noqa: B905 - endless
                place, headers = handle._place, handle._headers
                if place is None and headers is None:
                    handle._client = client
                    produce(handle._topic, handle._payload, handle._key, -1, handle)
                    count += 1
                    continue
                partition, key, timestamp = place or ANYWHERE
                if partition is None:
                    if key is not None:
                        next(client.refused)
                        break
                    partition = -1
                handle._client = client
                produce(
                    handle._topic,
                    handle._payload,
                    handle._key,
                    partition,
                    handle,
                    handle,
                    timestamp or 0,
                    headers,
                )
                count += 1
        except REFUSED:
            next(client.refused)
            del handles[count]._client  # as in `_produce`
        except BaseException as error:
            client.counters_uncertain = True
            raise_interruption(error)
            raise
        finally:
            client.borrows.pop()
        return count

    def _wait_for_room(
        self,
        handle: DeliveryHandle,
        client: Client,
        verb: str,
        full: BufferError,
        give_up: float,
    ) -> None:
        """Serve reports until one has made room, for one backoff at most.

        Without the lease, and serving them itself: a callback on the poller that
        sends would otherwise wait for the poller.
        """
        self._refuse_larger_than_the_queue(handle, full)
        now = clock.system_now()
        wait_ms = self._config.wait_timeout_on_queue_full
        error = queue_full_error(
            full,
            subject_of(handle),
            f"{limit_of('queue_full', self._connection.reports.kafka)}, "
            f"wait_timeout_on_queue_full is {wait_ms} ms",
        )
        if not self._config.wait_on_queue_full or now >= give_up:
            raise error
        if client.polled_by_this_thread():
            raise ReentrantCallError(
                "the client's queue is full, and the callback that sends holds up "
                "the reports that would make room"
            )
        if self._config.instrument_on_wait_queue_full:
            # Not logged: it has not failed yet.
            self._emitter.tell(verb, error, message=handle.message)
        before = client.acknowledged + client.failed
        backoff = self._config.wait_backoff_on_queue_full / 1000
        waiting.wait_turn(
            client,
            lambda: client.acknowledged + client.failed != before,
            min(give_up, now + backoff),
        )
        if backoff == 0:
            waiting.hear(client)

    def _refuse_larger_than_the_queue(
        self, handle: DeliveryHandle, full: BufferError
    ) -> None:
        """Raise for a message that no wait makes room for: only its payload counts."""
        size = len(handle._payload or b"")
        kbytes = number_of(self._connection.factory.kafka, _QUEUE_SIZE)
        if kbytes is not None and size > kbytes * 1024:
            raise ProduceError(
                f"{subject_of(handle)}: a payload of {size} bytes is larger than the "
                f"client's whole queue: {_QUEUE_SIZE} is {kbytes} ({kbytes * 1024} "
                "bytes); nothing was sent (msg_size_too_large)",
                code="msg_size_too_large",
                checklist=(f"raise kafka[{_QUEUE_SIZE!r}], or send less at once",),
            ) from full

    def _recover(
        self, handle: DeliveryHandle, client: Client, refused: KafkaException
    ) -> None:
        """Replace a lost client: the message goes to the next. Else raise the error."""
        error = self._refusal(handle, client, refused)
        recovery = self._recovery
        if recovery is None or not error.fatal:
            raise error from refused
        if not recovery.reload(client, error, "librdkafka.idempotent_fatal_error"):
            raise error from refused

    def _refusal(
        self, handle: DeliveryHandle, client: Client, refused: KafkaException
    ) -> ProduceError:
        """What `produce` refused a message with, and the real code of a fatal error."""
        error: Any = refusal_of(refused)
        lost = error.code() == error._FATAL
        if lost:
            if client.fatal is None and not client.polled_by_this_thread():
                # It comes out of a poll, once, and says what really happened.
                waiting.wait_turn(
                    client, lambda: client.fatal is not None, clock.system_now() + 0.2
                )
            if client.fatal is None:
                client.note_fatal(error)
            if client.fatal is not None:
                return about(shared(client.fatal.error()), subject_of(handle))
        raised = self._connection.reports.refused(handle, client, error)
        raised.fatal = raised.fatal or client.fatal is not None
        return raised
