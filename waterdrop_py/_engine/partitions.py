"""How many partitions a topic has, for messages with a `partition_key`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final
from zlib import crc32

from confluent_kafka import KafkaException

from waterdrop_py._engine import clock, lease, waiting
from waterdrop_py._engine.kafka_errors import produce_error, refusal_of
from waterdrop_py._engine.pause import pause
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from waterdrop_py._engine.slot import ClientSlot
    from waterdrop_py.typing import KafkaClient

LOOK_UP: Final = 5.0
"""Seconds that a look-up takes at most."""
_SLICE: Final = 0.5
"""Seconds of one native call, which is deaf to Ctrl-C."""
_AGAIN: Final = 0.05
"""Seconds until a topic that was just created is asked about again."""


def partition_of(
    slot: ClientSlot, topic: str, partition_key: bytes, deadline: float | None
) -> int:
    """The partition of a key: librdkafka's `consistent` partitioner."""
    return crc32(partition_key) % partition_count(slot, topic, deadline)


def partition_count(slot: ClientSlot, topic: str, deadline: float | None = None) -> int:
    """The topic's number of partitions, from the cache or within 5 s.

    Until `deadline` at most, where there is one.

    Raises:
        ProduceError: the topic is unknown, or no broker answered; nothing was sent.
    """
    known = slot.partitions.get(topic)
    if known is not None:
        return known
    give_up = clock.system_now() + LOOK_UP
    if deadline is not None:
        give_up = min(give_up, deadline)
    error: ProduceError | None = None
    while (left := give_up - clock.system_now()) > 0:
        ask = partial(_ask, topic=topic, timeout=min(_SLICE, left))
        try:
            count = lease.use(slot, ask, give_up)
        except KafkaException as raised:
            waiting.hear(slot.life)
            error = _refused(raised, topic, slot)
            if not error.retriable and error.code not in _PASSING:
                break
        else:
            if count:
                slot.partitions[topic] = count
                return count
        # The cluster may create the topic on the first question, and answer the
        # second.
        pause(min(_AGAIN, left))
    raise error or ProduceError(
        f"partitions of {topic!r}: no answer in time; nothing was sent",
        code="timed_out",
        retriable=True,
        checklist=slot.reports.checklist(),
    )


def _ask(client: KafkaClient, topic: str, timeout: float) -> int:
    found = lease.list_topics(client, topic, timeout=timeout).topics.get(topic)
    if found is None:
        return 0
    if found.error is not None:
        raise KafkaException(found.error)
    return len(found.partitions)


_PASSING: Final = frozenset(
    {"transport", "timed_out", "all_brokers_down", "unknown_topic_or_part"}
)


def _refused(raised: KafkaException, topic: str, slot: ClientSlot) -> ProduceError:
    return produce_error(
        refusal_of(raised),
        subject=f"partitions of {topic!r}; nothing was sent: ",
        checklist=slot.reports.checklist() if slot.reports.diagnosis.code else (),
    )
