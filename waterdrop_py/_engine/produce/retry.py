"""After librdkafka refused a message: a full queue, a partition, a lost client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.kafka_errors import (
    code_name,
    queue_full_error,
    refusal_of,
)
from waterdrop_py._engine.client.pending import (
    Place,
    move,
    payload_size,
    place_of,
    subject_of,
    topic_of,
)
from waterdrop_py._engine.client.subjects import limit_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection import metadata
from waterdrop_py._engine.connection.partitions import GONE, LOOK_UP, moved
from waterdrop_py._engine.connection.resending import Moved
from waterdrop_py._settings.reading import number_of
from waterdrop_py.errors import ProduceError, ReentrantCallError, about, shared

if TYPE_CHECKING:
    from confluent_kafka import KafkaException

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.recovery import Recovery
    from waterdrop_py.config import Config
    from waterdrop_py.delivery import DeliveryHandle

_QUEUE_SIZE: Final = "queue.buffering.max.kbytes"


class Retry:
    """Prepares the next try of a refused message, or raises if there is none.

    Thread-safe, no lock.
    """

    __slots__ = ("_config", "_connection", "_recovery")

    def __init__(
        self,
        config: Config,
        connection: Connection,
        recovery: Recovery | None,
    ) -> None:
        self._config = config
        self._connection = connection
        self._recovery = recovery

    def give_up_at(self, deadline: float | None) -> float:
        """The moment until which a message that is sent now waits for room."""
        by_option = clock.system_now() + self._config.wait_timeout_on_queue_full / 1000
        return by_option if deadline is None else min(by_option, deadline)

    def wait_for_room(
        self,
        handle: DeliveryHandle,
        client: Client,
        verb: str,
        full: BufferError,
        give_up: float,
    ) -> None:
        """Serve reports until one has made room, or one backoff is over.

        This thread serves them itself. A callback on the poller would wait for the
        poller otherwise.

        Raises:
            ProduceError: `queue_full`, after `give_up`; or the message is larger than
                the whole queue.
            ReentrantCallError: the caller is a callback of this client.
        """
        self.refuse_without_room(handle, full)
        now = clock.system_now()
        if now >= give_up:
            raise self.full_error(handle, full)
        if client.served_here:
            raise ReentrantCallError(
                "the client's queue is full, and the callback that sends holds up "
                "the reports that would make room"
            )
        self.announce_full(handle, verb, full)
        before = client.acknowledged + client.failed
        backoff = self._config.wait_backoff_on_queue_full / 1000
        waiting.wait_serving(
            client,
            lambda: client.acknowledged + client.failed != before,
            min(give_up, now + backoff),
        )
        if backoff == 0:
            waiting.serve_arrived(client)

    @property
    def room_wait(self) -> float:
        """Seconds that a message waits for room in the queue."""
        return self._config.wait_timeout_on_queue_full / 1000

    def full_error(
        self, handle: DeliveryHandle, full: BufferError | None
    ) -> ProduceError:
        """The `queue_full` error of a message."""
        wait_ms = self._config.wait_timeout_on_queue_full
        return queue_full_error(
            full,
            subject_of(handle),
            f"{limit_of('queue_full', self._connection.reports.kafka)}, "
            f"wait_timeout_on_queue_full is {wait_ms} ms",
        )

    def refuse_without_room(self, handle: DeliveryHandle, full: BufferError) -> None:
        """Raise for a message that may not wait for room, or would wait in vain."""
        self._refuse_larger_than_the_queue(handle, full)
        if not self._config.wait_on_queue_full:
            raise self.full_error(handle, full)

    def announce_full(
        self, handle: DeliveryHandle, verb: str, full: BufferError
    ) -> None:
        """Emit that a message waits for room, if the configuration says so."""
        if self._config.instrument_on_wait_queue_full:
            # An event only, no line in the log: the message has not failed yet.
            error = self.full_error(handle, full)
            self._connection.emitter.emit_error(verb, error, message=handle.message)

    def _refuse_larger_than_the_queue(
        self, handle: DeliveryHandle, full: BufferError
    ) -> None:
        """Raise for a message that no wait makes room for. Only its payload counts."""
        size = payload_size(handle)
        kbytes = number_of(self._connection.factory.kafka, _QUEUE_SIZE)
        if kbytes is not None and size > kbytes * 1024:
            raise ProduceError(
                f"{subject_of(handle)}: a payload of {size} bytes is larger than the "
                f"client's whole queue: {_QUEUE_SIZE} is {kbytes} ({kbytes * 1024} "
                "bytes); nothing was sent (msg_size_too_large)",
                code="msg_size_too_large",
                checklist=(f"raise kafka[{_QUEUE_SIZE!r}], or send less at once",),
            ) from full

    def other_partition(
        self, handle: DeliveryHandle, refused: KafkaException, deadline: float | None
    ) -> int | None:
        """Another partition for a message whose own does not exist.

        None: the refusal stands. A message is moved at most once, and never in a
        transaction, which a refusal ends. Blocks for a request to the cluster.
        """
        connection = self._connection
        error: Any = refusal_of(refused)
        if connection.reports.transactional or code_name(error) not in GONE:
            return None
        place = place_of(handle)
        if type(place) is not Place:  # it has none, or was moved before
            return None
        move(handle, Moved(*place))
        until = clock.system_now() + LOOK_UP
        if deadline is not None:
            until = min(until, deadline)
        topic = topic_of(handle)
        return moved(
            connection.partitions,
            topic,
            place,
            lambda: metadata.ask(connection, topic, until),
        )

    def replace_client(
        self, handle: DeliveryHandle, client: Client, refused: KafkaException
    ) -> None:
        """Replace a client that has a fatal error, for the next try; else raise."""
        error = self._refusal(handle, client, refused)
        recovery = self._recovery
        if recovery is None or not error.fatal:
            raise error from refused
        if not recovery.reload(client, error, "librdkafka.idempotent_fatal_error"):
            raise error from refused

    def _refusal(
        self, handle: DeliveryHandle, client: Client, refused: KafkaException
    ) -> ProduceError:
        """The error of a refused message, with the real code of a fatal error."""
        error: Any = refusal_of(refused)
        lost = code_name(error) == "fatal"
        if lost:
            if client.fatal is None and not client.served_here:
                # A poll reports the fatal error once, with its real code.
                waiting.wait_serving(
                    client, lambda: client.fatal is not None, clock.system_now() + 0.2
                )
            if client.fatal is None:
                client.note_fatal(error)
            if client.fatal is not None:
                return about(shared(client.fatal.error()), subject_of(handle))
        raised = self._connection.reports.refused(handle, client, error)
        raised.fatal = raised.fatal or client.fatal is not None
        return raised
