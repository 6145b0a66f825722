"""Types at the library's edges.

What clients, clocks and handles must offer, and what errors carry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

Headers: TypeAlias = list[tuple[str, bytes | None]]


@runtime_checkable
class KafkaClient(Protocol):
    """What a client must offer: the part of `confluent_kafka.Producer` that is used.

    `client_factory` may return any object with these methods. The methods of
    transactions are called only for producers with a `transactional.id`.
    """

    def produce(
        self,
        topic: str,
        *,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Callable[[Any, Any], None] | None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """Queue a message; a later `poll`, `flush` or `close` calls `on_delivery` once.

        It is called as `on_delivery(error, message)`. `topic`, `value` and
        `on_delivery` are always passed, the rest only if the message has it. `headers`
        is a dict, or a list of pairs if a name is repeated. The client may change it.

        Raises:
            BufferError: the queue is full.
            KafkaException: the client refuses the message.
        """

    def poll(self, timeout: float = -1) -> int:
        """Serve reports and callbacks for at most `timeout` seconds."""

    def flush(self, timeout: float = -1) -> int:
        """Wait at most `timeout` seconds for all messages; return how many are left."""

    def purge(
        self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True
    ) -> None:
        """Cancel queued and in-flight messages; the next poll serves their reports."""

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """The cluster's metadata; waits at most `timeout` seconds."""

    def init_transactions(self, timeout: float = -1) -> None:
        """Register the `transactional.id`; wait at most `timeout` seconds.

        After a timeout, another call continues where this one stopped.
        """

    def begin_transaction(self) -> None:
        """Begin a transaction."""

    def commit_transaction(self, timeout: float = -1) -> None:
        """Commit the transaction; wait at most `timeout` seconds.

        After a timeout, another call continues where this one stopped.
        """

    def abort_transaction(self, timeout: float = -1) -> None:
        """Abort the transaction; wait at most `timeout` seconds.

        After a timeout, another call continues where this one stopped.
        """

    def send_offsets_to_transaction(
        self, positions: list[Any], group_metadata: Any, timeout: float = -1
    ) -> None:
        """Make a consumer's offsets part of the transaction."""

    def close(self) -> Any:
        """Destroy the client: its sockets, threads and descriptors."""

    def __len__(self) -> int:
        """Number of messages and events that are queued, in flight or not served."""


ClientFactory: TypeAlias = Callable[[dict[str, Any]], KafkaClient]


@runtime_checkable
class NativeClient(KafkaClient, Protocol):
    """What `Producer.native()` gives: a client with the methods that users may need."""

    def produce(
        self,
        topic: str,
        value: str | bytes | None = None,
        key: str | bytes | None = None,
        partition: int = -1,
        callback: Callable[[Any, Any], None] | None = None,
        on_delivery: Callable[[Any, Any], None] | None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """Queue a message as confluent-kafka does, without a handle or an event.

        `on_delivery`, or `callback`, gets the report.
        """

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Use these from the next authentication on, until this client is closed."""

    def cluster_id(self, timeout: float = -1) -> str | None:
        """The cluster's id; waits at most `timeout` seconds."""


class Handle(Protocol):
    """A message whose outcome may be open, as errors carry it: a `DeliveryHandle`.

    It has the surface of `concurrent.futures.Future` without `cancel()`. Thread-safe.
    """

    @property
    def label(self) -> Any:
        """The label of the message."""

    def done(self) -> bool:
        """Whether the outcome is known. Never blocks."""

    def result(self, timeout: Any = None) -> Any:
        """The `DeliveryReport`; waits at most `timeout` seconds.

        Raises the reason if the message was not delivered.
        """

    def exception(self, timeout: Any = None) -> BaseException | None:
        """Why the message was not delivered, or None; waits like `result`."""


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The holder of a lease of a pool.

    Attributes:
        slot: index of the producer's slot in the pool.
        owner: name of the thread, or of the asyncio task, that took the lease.
        where: `<file>:<line>` of the code outside the library that took it.
        held_ms: milliseconds since the lease was taken.
    """

    slot: int
    owner: str
    where: str
    held_ms: float


class Clock(Protocol):
    """The source of the library's time: monotonic seconds that count suspension."""

    def now(self) -> float:
        """Seconds since some fixed point in the past."""


class Unsubscribe(Protocol):
    """What `Monitor.subscribe` returns: call it to end the subscription."""

    def __call__(self) -> None:
        """End the subscription; a second call does nothing.

        Never blocks. Thread-safe.
        """
