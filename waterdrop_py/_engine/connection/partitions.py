"""How many partitions a topic has, for messages with a `partition_key`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.kafka_errors import (
    code_name,
    kafka_error_of,
    produce_error,
    refusal_of,
)
from waterdrop_py._engine.client.subjects import nearest
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.pause import pause
from waterdrop_py._engine.connection import metadata
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.pending import Place
    from waterdrop_py._engine.connection.connection import Connection

LOOK_UP: Final = 5.0
"""Seconds that a look-up takes at most."""
OLD: Final = 300.0
"""Seconds after which a count is asked again."""
RETRY: Final = 10.0
"""Seconds until the next try where that question got no answer."""
MISSING: Final = 2.0
"""Seconds for which it is remembered that a topic is missing."""
RECOUNTED: Final = 1.0
"""Seconds after a refusal in which a count is not asked again for another one."""
MOST: Final = 1_000
"""Topics of which such things are remembered."""
_AGAIN: Final = 0.05
_AGAIN_MOST: Final = 0.5
"""Seconds until a topic that the cluster may be creating is asked about again."""
GONE: Final = frozenset({"unknown_partition", "unknown_topic_or_part", "unknown_topic"})
"""Codes of a message whose partition does not exist."""
_PASSING: Final = frozenset(
    {"transport", "timed_out", "all_brokers_down", "unknown_topic_or_part"}
)


class _Count(NamedTuple):
    partitions: int
    due_at: float  # when it is asked again, on the clock


_NONE: Final[dict[str, Any]] = {}
"""What nothing was noted in yet; never added to."""


class Partitions:
    """What a producer knows of its topics' partitions. It outlives the clients.

    No lock: dictionaries that are read and written by single operations. Whose write
    comes last wins, and each is an answer of the cluster.
    """

    __slots__ = ("_counts", "_missing", "_recounted")

    def __init__(self) -> None:
        # Most producers need none of them.
        self._counts: dict[str, _Count] = _NONE
        self._missing: dict[str, tuple[float, Any]] = _NONE
        self._recounted: dict[str, float] = _NONE

    def count(self, topic: str) -> int | None:
        """The number that is known."""
        known = self._counts.get(topic)
        return None if known is None else known.partitions

    def topics(self) -> list[str]:
        """The topics whose number is known."""
        return list(self._counts)

    def learn(self, topic: str, answer: Any) -> None:
        """Take in the cluster's answer about a topic."""
        found = answer.topics.get(topic)
        if found is None:
            return
        if found.error is None and found.partitions:
            if self._counts is _NONE:
                self._counts = {}
            due_at = clock.now() + OLD
            self._counts[topic] = _Count(len(found.partitions), due_at)
            self._missing.pop(topic, None)
        elif found.error is not None and code_name(found.error) in GONE:
            self._counts.pop(topic, None)

    def is_old(self, topic: str) -> bool:
        """Whether the number is to be asked again; says so once, for a while."""
        known = self._counts.get(topic)
        now = clock.now()
        if known is None or now < known.due_at:
            return False
        self._counts[topic] = known._replace(due_at=now + RETRY)
        return True

    def note_missing(self, topic: str, error: Any) -> None:
        """The cluster says that there is no such topic."""
        if self._missing is _NONE:
            self._missing = {}
        if len(self._missing) >= MOST:
            self._missing.clear()  # names that come from outside are many
        self._missing[topic] = (clock.now(), error)

    def missing(self, topic: str) -> Any:
        """What the cluster said, not long ago, when it knew no such topic; or None."""
        since, error = self._missing.get(topic, (0.0, None))
        if error is None or clock.now() - since >= MISSING:
            return None
        return error

    def was_missing(self, topic: str) -> bool:
        """Whether the last look-up did not find it, however long ago."""
        return topic in self._missing

    def recounted(self, topic: str) -> bool:
        """Whether it was asked for a refused message just now."""
        since = self._recounted.get(topic)
        return since is not None and clock.now() - since < RECOUNTED

    def note_recount(self, topic: str) -> None:
        """It is."""
        if self._recounted is _NONE:
            self._recounted = {}
        if len(self._recounted) >= MOST:
            self._recounted.clear()
        self._recounted[topic] = clock.now()


def partition_of(
    connection: Connection, topic: str, partition_key: bytes, deadline: float | None
) -> int:
    """The partition of a key: librdkafka's `consistent` partitioner."""
    count = connection.partitions.count(topic)
    if count is None:
        count = _look_up(connection, topic, deadline)
    return crc32(partition_key) % count


def partition_count(connection: Connection, topic: str) -> int:
    """The topic's number of partitions: what is known, or what the cluster says
    within 5 s.

    Raises:
        ProduceError: the topic is unknown, or no broker answered; nothing was sent.
    """
    count = connection.partitions.count(topic)
    if count is None:
        return _look_up(connection, topic, None)
    refresh(connection, topic)
    return count


def refresh(connection: Connection, topic: str) -> None:
    """Have an old count asked again, on a library thread, if a client is open."""
    if connection.client.native is not None and connection.partitions.is_old(topic):
        metadata.ask_aside(connection, topic)


def moved(
    partitions: Partitions,
    topic: str,
    place: Place,
    ask: Callable[[], object],
) -> int | None:
    """Where a message goes whose partition does not exist, as the cluster says now.

    `ask()` has the cluster asked. None: the refusal stands.

    Blocks as long as `ask` does.
    """
    if not partitions.recounted(topic):
        try:
            ask()
        except (KafkaException, TimeoutError):
            return None
        partitions.note_recount(topic)
    count = partitions.count(topic)
    if count is None:
        return None
    if place.partition is not None:
        return place.partition if place.partition < count else None
    if place.partition_key is None:
        return None
    return crc32(place.partition_key) % count


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
        # A topic that was missing before was not created by that question, so another
        # one like it is of no use.
        if left <= again or known.was_missing(topic):
            if error is not None and error.code in GONE:
                known.note_missing(topic, kafka_error_of(_cause(error)))
                break
            if left <= 0:
                raise error or _unanswered(connection, topic)
        # The cluster may create the topic on the first question, and answer a later
        # one.
        pause(max(0.0, min(again, left)))
        again = min(2 * again, _AGAIN_MOST)
    raise _missing(connection, topic)


def _asked(
    connection: Connection, topic: str, give_up: float
) -> tuple[int | None, ProduceError | None]:
    """The number, or what the cluster said instead; neither when there is no answer."""
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
