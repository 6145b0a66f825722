"""Known partition counts, and the new partition of a message whose own is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.kafka_errors import code_name
from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.pending import Place

LOOK_UP: Final = 5.0
"""Seconds of one look-up."""
OLD: Final = 300.0
"""Seconds after which the cluster is asked again for a count."""
RETRY: Final = 10.0
"""Seconds until the next such request, if there was no answer."""
MISSING: Final = 2.0
"""Seconds for which a topic counts as missing without another request."""
RECOUNTED: Final = 1.0
"""Seconds after a refused message in which other ones cause no request."""
MOST: Final = 1_000
"""Topics of which that is remembered."""
GONE: Final = frozenset({"unknown_partition", "unknown_topic_or_part", "unknown_topic"})
"""Codes for a message whose partition does not exist."""


class _Count(NamedTuple):
    partitions: int
    due_at: float  # when to ask again, on the clock


_NONE: Final[dict[str, Any]] = {}
"""Shared while there is nothing to keep; never added to."""


class Partitions:
    """What a producer knows of its topics' partitions. It outlives the clients.

    No lock: dictionaries that are read and written by single operations. The last write
    wins, and each is an answer of the cluster.
    """

    __slots__ = ("_counts", "_missing", "_recounted")

    def __init__(self) -> None:
        # Most producers need none of them.
        self._counts: dict[str, _Count] = _NONE
        self._missing: dict[str, tuple[float, Any]] = _NONE
        self._recounted: dict[str, float] = _NONE

    def count(self, topic: str) -> int | None:
        """The number of partitions, if it is known."""
        known = self._counts.get(topic)
        return None if known is None else known.partitions

    def topics(self) -> list[str]:
        """The topics whose number is known."""
        return list(self._counts)

    def learn(self, topic: str, answer: Any) -> None:
        """Keep the cluster's answer about a topic."""
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
        """Whether to ask for the number again; True once in RETRY seconds."""
        known = self._counts.get(topic)
        now = clock.now()
        if known is None or now < known.due_at:
            return False
        self._counts[topic] = known._replace(due_at=now + RETRY)
        return True

    def note_missing(self, topic: str, error: Any) -> None:
        """The cluster does not know the topic."""
        if self._missing is _NONE:
            self._missing = {}
        if len(self._missing) >= MOST:
            self._missing.clear()  # names may come from outside, and be many
        self._missing[topic] = (clock.now(), error)

    def missing(self, topic: str) -> Any:
        """The cluster's error, if it did not know the topic within MISSING seconds."""
        since, error = self._missing.get(topic, (0.0, None))
        if error is None or clock.now() - since >= MISSING:
            return None
        return error

    def was_missing(self, topic: str) -> bool:
        """Whether the last look-up did not find the topic, however long ago."""
        return topic in self._missing

    def recounted(self, topic: str) -> bool:
        """Whether a refused message caused a request within RECOUNTED seconds."""
        since = self._recounted.get(topic)
        return since is not None and clock.now() - since < RECOUNTED

    def note_recount(self, topic: str) -> None:
        """A refused message causes a request now."""
        if self._recounted is _NONE:
            self._recounted = {}
        if len(self._recounted) >= MOST:
            self._recounted.clear()
        self._recounted[topic] = clock.now()


def moved(
    partitions: Partitions,
    topic: str,
    place: Place,
    ask: Callable[[], object],
) -> int | None:
    """The new partition of a message whose partition does not exist.

    `ask()` asks the cluster, and blocks. None: the message stays refused.
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
