"""Queued messages that wait for the partitions of their topic, apart from others."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from waterdrop_py._engine.client.pending import place_of, topic_of
from waterdrop_py._engine.connection.partition_lookup import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.produce.queued import Queued
    from waterdrop_py.delivery import DeliveryHandle


class LookUps:
    """The look-ups of one send queue. `take` and `put_back` are called by the
    thread that hands over; the others are thread-safe.

    A look-up is a worker's job. All messages to its topic wait for its end, in order.

    Attributes:
        answered: topics whose look-up has ended.
        until: when each look-up ends at the latest, on the system's clock.
    """

    __slots__ = ("_aside", "_connection", "_when_answered", "answered", "until")

    def __init__(
        self, connection: Connection, when_answered: Callable[[], None]
    ) -> None:
        """`when_answered` hands over what can go on, on the worker."""
        self._connection = connection
        self._when_answered = when_answered
        self._aside: dict[str, deque[Queued]] = {}
        self.answered: deque[str] = deque()
        self.until = inf

    def __len__(self) -> int:
        return sum(len(line) for line in list(self._aside.values()))

    def __bool__(self) -> bool:
        return bool(self._aside)

    def entries(self) -> list[Queued]:
        """What waits."""
        return [entry for line in list(self._aside.values()) for entry in line]

    def remove(self, entry: Queued) -> None:
        """`entry` does not wait any more."""
        for line in list(self._aside.values()):
            with suppress(ValueError):
                line.remove(entry)

    def take(self, entry: Queued) -> bool:
        """Keep `entry` if its next message has to wait; whether it has to."""
        handle = entry.handles[entry.count]
        topic, place = topic_of(handle), place_of(handle)
        line = self._aside.get(topic)
        if line is not None:
            line.append(entry)
            return True
        if place is None or place.partition is not None or place.partition_key is None:
            return False
        if self._connection.partitions.count(topic) is not None:
            return False
        self._aside[topic] = deque([entry])
        self._connection.runtime.workers.submit(partial(self._look_up, topic))
        return True

    def _look_up(self, topic: str) -> None:
        """Ask for the partitions of `topic`. Messages that cannot be sent then get the
        error. A worker's job."""
        for entry in list(self._aside.get(topic, ())):
            handle = entry.handles[entry.count]
            place = place_of(handle)
            if place is None or place.partition_key is None or entry.withdrawn:
                continue
            until = min(self.until, inf if entry.deadline is None else entry.deadline)
            try:
                partition_of(
                    self._connection,
                    topic,
                    place.partition_key,
                    None if until == inf else until,
                )
                break
            except BaseException as error:  # noqa: BLE001 - raised by its caller
                entry.end(error.with_traceback(None))
        self.answered.append(topic)
        self._when_answered()

    def put_back(self, waiting: deque[Queued]) -> None:
        """Put entries whose look-up has ended in front of `waiting`, in order.

        Before they are forgotten here, so that no message goes past them.
        """
        while self.answered:
            topic = self.answered[0]
            waiting.extendleft(reversed(self._aside.get(topic, ())))
            self._aside.pop(topic, None)
            self.answered.popleft()


def known_partition(connection: Connection, handle: DeliveryHandle) -> int | None:
    """The partition, -1 for the partitioner's; None where it has to be asked."""
    place = place_of(handle)
    if place is None:
        return -1
    if place.partition is not None:
        return place.partition
    if place.partition_key is None:
        return -1
    topic = topic_of(handle)
    if connection.partitions.count(topic) is None:
        return None
    return partition_of(connection, topic, place.partition_key, None)
