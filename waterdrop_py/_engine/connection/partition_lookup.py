"""Chooses the partition of a message with a `partition_key`, and counts partitions.

Asks the cluster for what `partitions.py` does not know yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.kafka_errors import (
    kafka_error_of,
    produce_error,
    refusal_of,
)
from waterdrop_py._engine.client.subjects import nearest
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection import metadata
from waterdrop_py._engine.connection.metadata_request import ask_in_background
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.connection.partitions import GONE, LOOK_UP
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.connection import Connection

_AGAIN: Final = 0.05
_AGAIN_MOST: Final = 0.5
"""Seconds between two requests for a topic that the cluster may be creating."""
_PASSING: Final = frozenset(
    {"transport", "timed_out", "all_brokers_down", "unknown_topic_or_part"}
)


def partition_of(
    connection: Connection, topic: str, partition_key: bytes, deadline: float | None
) -> int:
    """The partition of a key: librdkafka's `consistent` partitioner."""
    count = connection.partitions.count(topic)
    if count is None:
        count = _look_up(connection, topic, deadline)
    return crc32(partition_key) % count


def partition_count(connection: Connection, topic: str) -> int:
    """The number of partitions: the known one, or what the cluster answers within 5 s.

    Raises:
        ProduceError: the topic is unknown, or no broker answered; nothing was sent.
    """
    count = connection.partitions.count(topic)
    if count is None:
        if connection.partitions.missing(topic) is None:
            open_noted(connection, clock.system_now() + LOOK_UP, use=False)
        return _look_up(connection, topic, None)
    refresh(connection, topic)
    return count


def refresh(connection: Connection, topic: str) -> None:
    """Have a worker ask again for an old count, if a client is open."""
    if connection.client.native is not None and connection.partitions.is_old(topic):
        ask_in_background(connection, topic)


def _look_up(connection: Connection, topic: str, deadline: float | None) -> int:
    connection.refuse_closed()
    known = connection.partitions
    give_up = clock.system_now() + LOOK_UP
    if deadline is not None:
        give_up = min(give_up, deadline)
    again = _AGAIN
    error: ProduceError | None = None
    while known.missing(topic) is None:
        found, refusal = _asked(connection, topic, give_up)
        if found is not None:
            return found
        error = refusal or error
        if error is not None and not error.retriable and error.code not in _PASSING:
            raise error
        left = give_up - clock.system_now()
        # A topic that was missing before was not created by that request, so another
        # one would not create it either.
        if left <= again or known.was_missing(topic):
            if error is not None and error.code in GONE:
                known.note_missing(topic, kafka_error_of(_cause(error)))
                break
            if left <= 0:
                raise error or _unanswered(connection, topic)
        # The cluster may create the topic at the first request, and answer a later one.
        sleep(max(0.0, min(again, left)))
        again = min(2 * again, _AGAIN_MOST)
    raise _missing(connection, topic)


def _asked(
    connection: Connection, topic: str, give_up: float
) -> tuple[int | None, ProduceError | None]:
    """The number, or the cluster's error, or neither if there is no answer."""
    try:
        answer = metadata.ask(connection, topic, give_up, lasting=LOOK_UP)
    except TimeoutError:
        return None, None
    except KafkaException as raised:
        return None, _refused(raised, topic, connection)
    found = answer.topics.get(topic)
    if found is not None and found.error is not None:
        return None, _refused(KafkaException(found.error), topic, connection)
    return connection.partitions.count(topic), None


def _unanswered(connection: Connection, topic: str) -> ProduceError:
    return ProduceError(
        f"partitions of {topic!r}: no answer in time; nothing was sent",
        code="timed_out",
        retriable=True,
        checklist=connection.reports.checklist(),
    )


def _missing(connection: Connection, topic: str) -> ProduceError:
    names = {*connection.partitions.topics(), *connection.reports.topics}
    return produce_error(
        connection.partitions.missing(topic),
        subject=f"there is no topic {topic!r}{nearest(topic, names)}; nothing was "
        "sent: ",
    )


def _cause(error: ProduceError) -> BaseException:
    return error.__cause__ or error


def _refused(
    raised: KafkaException, topic: str, connection: Connection
) -> ProduceError:
    return produce_error(
        refusal_of(raised),
        subject=f"partitions of {topic!r}; nothing was sent: ",
        checklist=connection.reports.checklist()
        if connection.reports.diagnosis.code
        else (),
    )
