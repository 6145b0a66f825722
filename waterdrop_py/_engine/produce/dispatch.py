"""From a valid message to librdkafka's queue: client, partition, and retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.pending import (
    client_of,
    place_of,
    subject_of,
    topic_of,
)
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.connection.opening import introduce, open_client
from waterdrop_py._engine.connection.partition_lookup import partition_of, refresh
from waterdrop_py._engine.produce.hot_path import send_one
from waterdrop_py._engine.produce.retry import Retry
from waterdrop_py.errors import ProduceError, ReentrantCallError, about, shared

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.client.pending import Place, Waiting
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.recovery import Recovery
    from waterdrop_py._engine.produce.queued import Queued
    from waterdrop_py.config import Config
    from waterdrop_py.delivery import DeliveryHandle


class WithdrawnError(Exception):
    """The caller does not want its message to be sent any more. Internal."""


class Dispatch:
    """Hands messages to the client of one connection. Thread-safe, no lock."""

    __slots__ = ("_retry", "connection")

    def __init__(
        self,
        config: Config,
        connection: Connection,
        recovery: Recovery | None = None,
    ) -> None:
        self.connection = connection
        self._retry = Retry(config, connection, recovery)

    def send(
        self,
        handle: DeliveryHandle,
        verb: str,
        deadline: float | None = None,
        *,
        serves: bool = False,
        deferred: Waiting | None = None,
        queued: Queued | None = None,
    ) -> None:
        """Have librdkafka queue a filled `handle`. Opens a client if need be.

        Blocks for an open, for the first look-up of a topic's partitions, and for a
        full queue; until `deadline` at most, if there is one.

        `serves`: the caller serves the report, and then calls `introduce`, also if this
        raises. Without the poller, p50 of `produce_sync` is 1.25 of bare, not 1.4.

        `deferred`: what the handle holds until a client has the message.

        `queued`: what keeps the message while it waits for room. `BufferError` comes
        out then, and `WithdrawnError` if the message may not be sent any more.

        Raises:
            ProduceError, ProducerClosedError, ReentrantCallError: nothing was sent.
        """
        connection = self.connection
        give_up = self._retry.give_up_at(deadline)
        topic, place = topic_of(handle), place_of(handle)
        partition = -1 if place is None else self._partition(topic, place, deadline)
        try:
            if queued is not None and queued.refused is not None:
                (client, told), queued.refused = queued.refused, None
                partition = self._after_refusal(
                    handle, client, told, partition, deadline
                )
            while True:
                client = self._ready(handle, deadline)
                _claim(queued)
                try:
                    if send_one(
                        connection,
                        handle,
                        client,
                        partition,
                        serves=serves,
                        deferred=deferred,
                    ):
                        return
                except BufferError as full:
                    self._wait_for_room(handle, client, verb, full, give_up, queued)
                except KafkaException as error:
                    partition = self._after_refusal(
                        handle, client, error, partition, deadline
                    )
                finally:
                    if client.refusals:
                        connection.reschedule()
        finally:
            self._after_send(topic, place, serves=serves)

    def _wait_for_room(
        self,
        handle: DeliveryHandle,
        client: Client,
        verb: str,
        full: BufferError,
        give_up: float,
        queued: Queued | None,
    ) -> None:
        if queued is not None:
            raise full
        self._retry.wait_for_room(handle, client, verb, full, give_up)

    def _after_refusal(
        self,
        handle: DeliveryHandle,
        client: Client,
        refused: KafkaException,
        partition: int,
        deadline: float | None,
    ) -> int:
        """The partition for the next try; raises if there is none."""
        elsewhere = self._retry.other_partition(handle, refused, deadline)
        if elsewhere is not None:
            return elsewhere
        self._retry.replace_client(handle, client, refused)
        return partition

    def client_now(self) -> Client | None:
        """The client that may be sent with at once; None if one is to be opened, or
        `send` has to decide."""
        connection = self.connection
        client = connection.client
        lost = client.fatal is not None or connection.fatal_client is not None
        if client is NO_CLIENT or lost or connection.policy.expired(client):
            return None
        return client

    def send_now(self, handle: DeliveryHandle, client: Client, partition: int) -> bool:
        """Have `client` queue a filled `handle`, without any wait.

        False: the connection has another client by now.

        Raises:
            BufferError, KafkaException: the client refused it.
        """
        try:
            return send_one(self.connection, handle, client, partition, serves=False)
        finally:
            if client.refusals:
                self.connection.reschedule()
            self._after_send(topic_of(handle), place_of(handle), serves=False)

    def full_error(
        self, handle: DeliveryHandle, full: BufferError | None
    ) -> ProduceError:
        """The `queue_full` error of a message that found no room in time."""
        return self._retry.full_error(handle, full)

    def refuse_without_room(self, handle: DeliveryHandle, full: BufferError) -> None:
        """Raise for a message that may not wait for room, or would wait in vain."""
        self._retry.refuse_without_room(handle, full)

    @property
    def room_wait(self) -> float:
        """Seconds that a message waits for room in the queue."""
        return self._retry.room_wait

    def announce_full(
        self, handle: DeliveryHandle, verb: str, full: BufferError
    ) -> None:
        """Emit that a message waits for room, if the configuration says so."""
        self._retry.announce_full(handle, verb, full)

    def _after_send(self, topic: str, place: Place | None, *, serves: bool) -> None:
        """Do what can wait until the message is queued."""
        connection = self.connection
        if not serves:
            introduce(connection)
        connection.topic = topic
        if place is not None and place.partition_key is not None:
            refresh(connection, topic)

    @property
    def unnoted(self) -> bool:
        """Whether the library's threads do not know of the client yet."""
        return self.connection.unnoted

    def introduce(self, handle: DeliveryHandle) -> None:
        """Make the client of `handle` known to the library's threads."""
        try:
            introduce(self.connection)
        finally:
            client = client_of(handle)
            if client is not None and not client.poll_at:
                client.poll_soon(client)  # the poller does not know it yet

    def refuse_closed(self) -> None:
        """Raise `ProducerClosedError` if the close has begun."""
        self.connection.refuse_closed()

    def refuse_inside_callback(self) -> None:
        """Refuse a verb that waits where its report could not come.

        Raises:
            ReentrantCallError: this thread is inside a callback of the same client.
        """
        if self.connection.client.served_here:
            raise ReentrantCallError(
                "a verb that waits was called inside a callback or subscriber of the "
                "same client, which holds up its reports; nothing was sent"
            )

    def _ready(self, handle: DeliveryHandle, deadline: float | None) -> Client:
        try:
            return open_client(self.connection, deadline)
        except ProduceError as error:
            raise about(shared(error), subject_of(handle)) from error.__cause__

    def _partition(self, topic: str, place: Place, deadline: float | None) -> int:
        if place.partition is not None:
            return place.partition
        if place.partition_key is None:
            return -1
        return partition_of(self.connection, topic, place.partition_key, deadline)


def _claim(queued: Queued | None) -> None:
    if queued is not None and not queued.claim():
        raise WithdrawnError
