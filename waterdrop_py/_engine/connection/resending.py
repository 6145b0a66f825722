"""Messages whose partition does not exist, as their report says: handed over again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.borrow_marks import borrower
from waterdrop_py._engine.client.kafka_errors import code_name
from waterdrop_py._engine.client.pending import (
    Place,
    client_of,
    move,
    place_of,
    produce_again,
    topic_of,
)
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.pause import pause
from waterdrop_py._engine.connection.metadata_request import ask_held
from waterdrop_py._engine.connection.partitions import GONE, LOOK_UP, moved
from waterdrop_py._settings.defaults import message_timeout_ms

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py.delivery import DeliveryHandle

_TICK: Final = 0.01
"""Seconds between two tries to have room in the queue."""


_NONE: Final[list[Any]] = []
"""What a producer has that never sent anything again; never added to."""


class Resending:
    """Takes reports that say so, and hands their messages over once more.

    The topic was created again with fewer partitions, or grew, or the client's
    metadata is older than the count. The cluster is asked on a closer, never inside
    the poll that served the report.

    The message's `message.timeout.ms` begins anew in librdkafka, which has none for a
    single message; so one that took that long for its refusal is not handed over again.
    It keeps its number: it is one message in every figure, and in flight
    until its last report. So its client is neither closed nor let go of meanwhile,
    unless it is given up (`Client.lost`), and that is the message's outcome.

    No lock: `_right.pop` decides which thread works. A message is added before the look
    at the right, and the thread that works gives the right back before it looks for
    messages: one of the two sees the other.
    """

    __slots__ = ("_connection", "_refused", "_right")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._refused: list[tuple[DeliveryHandle, Any, Any]] = _NONE
        self._right: list[None] = _NONE

    def take(self, handle: DeliveryHandle, error: Any, native: Any) -> bool:
        """Take the report of `handle`; False when it is to be settled as it is.

        Inside the poll; neither asks nor sends anything. Once for each report, also
        where a signal handler interrupted the drain behind it.
        """
        place = place_of(handle)
        if place is None:
            return False
        if type(place) is Moved:  # it was handed over again, or is about to be
            return any(taken is native for _, _, taken in tuple(self._refused))
        if code_name(error) not in GONE:
            return False
        if place.partition is None and place.partition_key is None:
            return False
        connection = self._connection
        timeout = (message_timeout_ms(connection.factory.kafka) or 0) / 1000
        waited = native.latency() if native is not None else None
        if connection.reports.transactional or (timeout and (waited or 0.0) >= timeout):
            return False
        if self._refused is _NONE:
            self._right = [None]
            self._refused = []
        move(handle, Moved(*place))
        self._refused.append((handle, error, native))
        return True

    @property
    def waiting(self) -> bool:
        """Whether messages wait for a thread that hands them over."""
        return bool(self._refused and self._right)

    @property
    def holds(self) -> bool:
        """Whether it has messages that are in no client just now: a foreign client that
        says it has nothing left has lost none of them."""
        working = self._right is not _NONE and not self._right
        return bool(self._refused) or working

    def begin(self) -> None:
        """Hand over what waits, on a closer.

        Outside of the native poll: where no thread starts (at interpreter exit, from
        3.12 on) it is done here and now, and confluent-kafka ends the process when a
        callback of a client makes a native call that serves callbacks
        (test_a_topic_that_shrank_at_the_exit).
        """
        self._connection.runtime.workers.submit(self._work)

    def _work(self) -> None:
        while self._refused:
            try:
                self._right.pop()
            except IndexError:
                return  # another thread does
            try:
                while self._refused:
                    self._once_more(self._refused.pop(0))
            finally:
                self._right.append(None)

    def _once_more(self, report: tuple[DeliveryHandle, Any, Any]) -> None:
        """`_again`; what a client of a factory raises leaves the refusal as it came."""
        try:
            self._again(*report)
        except Exception as error:  # noqa: BLE001 - contained, and told of
            self._connection.emitter.error("librdkafka.error", error)
            if not report[0].done():
                _give_back(report, client_of(report[0]))

    def _again(self, handle: DeliveryHandle, error: Any, native: Any) -> None:
        client = client_of(handle)
        topic, place = topic_of(handle), place_of(handle)
        if place is None:
            return
        until = clock.system_now() + LOOK_UP
        partition = moved(
            self._connection.partitions,
            topic,
            place,
            lambda: ask_held(self._connection, client, topic, until),
        )
        if partition is None or not _hand_over(handle, client, partition, until):
            _give_back((handle, error, native), client)


class Moved(Place):
    """The place of a message that was handed over again."""

    __slots__ = ()


@borrower
def _hand_over(
    handle: DeliveryHandle, client: Client, partition: int, until: float
) -> bool:
    """Produce on the client that refused it; False when it does not take it.

    The mark is set before the look: whoever gives a client up says so before it looks
    who is inside (test_a_message_is_given_up_as_it_is_sent_again).
    """
    while True:
        try:
            client.borrows.append(None)
            if handle.done() or client.produce is None:
                return False
            client.quiet = False
            produce_again(handle, client.produce, partition)
        except BufferError:
            if clock.system_now() >= until:
                return False
        except KafkaException:
            return False
        else:
            return True
        finally:
            client.borrows.pop()
            client.poll_soon(client)
        pause(_TICK)


def _give_back(report: tuple[DeliveryHandle, Any, Any], client: Client) -> None:
    """Have it settled as it came, by whoever serves the client's reports."""
    client.arrived.append(report)
    client.poll_soon(client)
    waiting.hear(client)
