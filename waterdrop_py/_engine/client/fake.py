"""A client that needs no Kafka: for tests, and for `deliver=False`."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final, TypeAlias

from confluent_kafka import KafkaError, KafkaException

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._settings.reading import number_of, text_of

Callback: TypeAlias = Callable[[Any, Any], None]

_PARTITIONS: Final = 4
_DEFAULT_QUEUE: Final = 100_000


class FakeMessage:
    """A message as a client hands it to its delivery callback."""

    __slots__ = (
        "_error",
        "_headers",
        "_key",
        "_offset",
        "_partition",
        "_timestamp",
        "_topic",
        "_value",
    )

    def __init__(
        self,
        topic: str,
        value: str | bytes | None,
        key: str | bytes | None,
        partition: int,
        timestamp: int,
        headers: Any,
    ) -> None:
        self._topic = topic
        self._value = value
        self._key = key
        self._partition = partition
        self._timestamp = timestamp
        self._headers = headers
        self._offset: int | None = None
        self._error: Any = None

    def __repr__(self) -> str:
        """Where it is, and no content."""
        return (
            f"<FakeMessage topic={self._topic!r} partition={self._partition} "
            f"offset={self._offset}>"
        )

    def acknowledge(self, offset: int) -> None:
        """Note that it was delivered, to `offset`."""
        self._offset = offset

    def fail(self, error: Any) -> None:
        """Note that it was not delivered."""
        self._error = error

    def topic(self) -> str:
        """The topic."""
        return self._topic

    def value(self) -> str | bytes | None:
        """The payload."""
        return self._value

    def key(self) -> str | bytes | None:
        """The key."""
        return self._key

    def partition(self) -> int:
        """The partition."""
        return self._partition

    def offset(self) -> int | None:
        """The offset, once delivered."""
        return self._offset

    def headers(self) -> Any:
        """The headers as a consumer sees them, a list of pairs; or None."""
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        """Type (1: create time) and milliseconds."""
        return 1, self._timestamp

    def latency(self) -> float:
        """Seconds until the acknowledgement: none."""
        return 0.0

    def error(self) -> Any:
        """What went wrong, or None."""
        return self._error


class FakeClient:
    """Acknowledges every message at the next poll, and forgets it. Thread-safe.

    It has the protocol of `confluent_kafka.Producer` as far as the library uses it.
    Offsets count from 0 for each partition. A full queue is a `BufferError`, a closed
    client a `RuntimeError`. Pass the class as `client_factory`, or an instance. An
    instance is the cluster of every client that is opened: they share its offsets, and
    what it keeps.

    Example:
        >>> with Producer(kafka={"acks": "all"}, client_factory=FakeClient) as producer:
        ...     producer.produce_sync("orders", b"first").offset
        0
    """

    _needs_no_cluster = True
    """Read when a producer is made: it connects to nothing, so it needs no brokers."""

    def __init__(self, conf: dict[str, Any] | None = None) -> None:
        self._offsets: dict[tuple[str, int], count[int]] = {}
        self._start(dict(conf or {}))

    def __call__(self, conf: dict[str, Any]) -> FakeClient:
        """Open a client of this cluster, with `conf`."""
        client = copy.copy(self)
        client._start(dict(conf))  # noqa: SLF001 - of its own class
        return client

    def _start(self, conf: dict[str, Any]) -> None:
        """Set what belongs to a client, and not to the cluster."""
        self._conf = conf
        self._closed = False
        self._waiting: deque[tuple[Callback | None, Any, FakeMessage]] = deque()
        self._in_transaction = False

    def produce(  # noqa: PLR0913 - confluent-kafka's own signature
        self,
        topic: str,
        value: str | bytes | None = None,
        key: str | bytes | None = None,
        partition: int = -1,
        callback: Callback | None = None,
        on_delivery: Callback | None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """Queue a message; it is acknowledged by the next poll."""
        self._refuse_closed()
        if text_of(self._conf, "transactional.id") and not self._in_transaction:
            raise _state("produce outside a transaction")
        limit = number_of(self._conf, "queue.buffering.max.messages") or _DEFAULT_QUEUE
        if len(self._waiting) >= limit:
            raise BufferError("Local: Queue full")
        place = max(0, partition)
        created = timestamp or int(clock.wall_now() * 1000)
        pairs = list(headers.items() if isinstance(headers, dict) else headers or ())
        message = FakeMessage(topic, value, key, place, created, pairs or None)
        self._accept(message)
        self._waiting.append((callback or on_delivery, None, message))

    def _accept(self, message: FakeMessage) -> None:
        """Called with each accepted message, for clients that keep them."""

    def _drop(self, message: FakeMessage) -> None:
        """Called with each purged message, for clients that keep them."""

    def poll(self, timeout: float = -1) -> int:
        """Acknowledge what waits. Never blocks."""
        self._refuse_closed()
        served = 0
        while self._waiting:
            try:
                callback, error, message = self._waiting.popleft()
            except IndexError:
                break
            if error is None:
                place = (message.topic(), message.partition())
                # One operation of the dict: several clients may share it.
                message.acknowledge(next(self._offsets.setdefault(place, count())))
            else:
                message.fail(error)
            if callback is not None:
                callback(error, message)
            served += 1
        return served

    def flush(self, timeout: float = -1) -> int:
        """Acknowledge what waits."""
        self.poll(0)
        return len(self._waiting)

    def purge(
        self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True
    ) -> None:
        """Fail what waits with `_PURGE_QUEUE`, at the next poll."""
        self._refuse_closed()
        purged = []
        with suppress(IndexError):  # another thread has polled meanwhile
            for _ in range(len(self._waiting)):
                purged.append(self._waiting.popleft())
        error = KafkaError(KafkaError._PURGE_QUEUE)  # noqa: SLF001 - its constant
        self._waiting.extend((callback, error, each) for callback, _, each in purged)
        for _, _, message in purged:
            self._drop(message)

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Metadata in which every topic that is asked about has 4 partitions."""
        self._refuse_closed()
        return _Metadata(topic)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Accept credentials, and forget them."""
        self._refuse_closed()

    def cluster_id(self, timeout: float = -1) -> str:
        """The id of the pretended cluster."""
        self._refuse_closed()
        return "fake"

    def close(self) -> bool:
        """Destroy the client."""
        self._closed = True
        return True

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._figures()}>"

    def _figures(self) -> str:
        shut = " closed" if self._closed else ""
        return f"waiting={len(self._waiting)}{shut}"

    # -- transactions ------------------------------------------------------

    def init_transactions(self, timeout: float = -1) -> None:
        """Accept the `transactional.id`."""
        self._refuse_closed()

    def begin_transaction(self) -> None:
        """Begin one; a second one is `_STATE`."""
        self._refuse_closed()
        if self._in_transaction:
            raise _state("a transaction is open")
        self._in_transaction = True

    def commit_transaction(self, timeout: float = -1) -> None:
        """Commit the open one."""
        self._end()

    def abort_transaction(self, timeout: float = -1) -> None:
        """Abort the open one; what waits is purged."""
        self.purge()
        self._end()

    def send_offsets_to_transaction(
        self, positions: list[Any], group_metadata: Any, timeout: float = -1
    ) -> None:
        """Accept offsets inside a transaction."""
        self._refuse_closed()
        if not self._in_transaction:
            raise _state("no transaction is open")

    def _end(self) -> None:
        self._refuse_closed()
        if not self._in_transaction:
            raise _state("no transaction is open")
        self._in_transaction = False

    def _refuse_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Producer has been closed")


class _Metadata:
    def __init__(self, topic: str | None) -> None:
        self.topics = {} if topic is None else {topic: _Topic()}
        self.brokers: dict[int, Any] = {}


class _Topic:
    error = None
    partitions: Final = dict.fromkeys(range(_PARTITIONS))


def _state(why: str) -> KafkaException:
    return KafkaException(KafkaError(KafkaError._STATE, why))  # noqa: SLF001
