"""Sending a message again whose report says that its partition does not exist."""

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
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection.metadata_request import ask_for_message
from waterdrop_py._engine.connection.partitions import GONE, LOOK_UP, moved
from waterdrop_py._settings.defaults import message_timeout_ms

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py.delivery import DeliveryHandle

_TICK: Final = 0.01
"""Seconds between two attempts while the queue is full."""


_NEVER_SENT: Final = GONE | {"destroy"}
"""Codes of the reports that it takes. librdkafka reports `_DESTROY` of a message that
it was given as it removed the partition (`rd_kafka_toppar_destroy_final`)."""
_NONE: Final[list[Any]] = []
"""Shared by all that never sent a message again; never added to."""


class Resending:
    """Takes such reports, and hands their messages over once more.

    The topic was created again with fewer partitions, or grew, or the client's
    metadata is older than the count. A worker asks the cluster, never the poll that
    served the report.

    librdkafka starts `message.timeout.ms` anew then. So a message whose refusal took
    that long is not sent again. A message keeps its number: it counts once in every
    figure, and is in flight until its last report. So its client stays open meanwhile,
    unless it is given up (`Client.given_up`); that is the message's outcome then.

    No lock: `_right.pop` decides which thread works. `take` adds a message, and `begin`
    tries the right after that. The working thread gives the right back, and then looks
    for messages. One of the two sees the other.
    """

    __slots__ = ("_connection", "_refused", "_right")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._refused: list[tuple[DeliveryHandle, Any, Any]] = _NONE
        self._right: list[None] = _NONE

    def take(self, handle: DeliveryHandle, error: Any, native: Any) -> bool:
        """Take the report of `handle`; False if it is to be settled as it is.

        Called as the report is settled, and neither asks nor sends anything. Once for
        each report, also if a signal handler interrupts that.
        """
        place = place_of(handle)
        if place is None:
            return False
        if type(place) is Moved:  # it was sent again, or is about to be
            return any(taken is native for _, _, taken in list(self._refused))
        if code_name(error) not in _NEVER_SENT:
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
        """Whether messages wait for a worker."""
        return bool(self._refused and self._right)

    @property
    def holds(self) -> bool:
        """Whether it has messages that are in no client now. A foreign client that says
        that it has nothing left has not lost those."""
        working = self._right is not _NONE and not self._right
        return bool(self._refused) or working

    def begin(self) -> None:
        """Have a worker send what waits.

        Called outside of the native poll. Where no thread can start (at interpreter
        exit, from Python 3.12 on) the job runs here and now. Inside a callback that
        would end the process, because the job makes native calls
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
                    self._send_again(self._refused.pop(0))
            finally:
                self._right.append(None)

    def _send_again(self, report: tuple[DeliveryHandle, Any, Any]) -> None:
        """`_again`; whatever a foreign client raises restores the refusal."""
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
            lambda: ask_for_message(self._connection, client, topic, until),
        )
        if partition is None or not _hand_over(handle, client, partition, until):
            _give_back((handle, error, native), client)


class Moved(Place):
    """The place of a message that was sent again."""

    __slots__ = ()


@borrower
def _hand_over(
    handle: DeliveryHandle, client: Client, partition: int, until: float
) -> bool:
    """Produce on the client that refused it; False if that does not take it.

    This adds a mark to `borrows` and then reads whether the handle is done. A thread
    that gives the client up resolves the handle and then reads `borrows`. One of the
    two sees the other (test_a_message_is_given_up_as_it_is_sent_again).
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
        sleep(_TICK)


def _give_back(report: tuple[DeliveryHandle, Any, Any], client: Client) -> None:
    """Have the report settled as it came, with what arrives next."""
    client.arrived.append(report)
    client.poll_soon(client)
    waiting.serve_arrived(client)
