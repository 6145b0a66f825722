"""The protocols at the library's edges: what a client and a clock must offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

Headers: TypeAlias = list[tuple[str, bytes | None]]


@runtime_checkable
class KafkaClient(Protocol):
    """What the engine asks of a client: the part of `confluent_kafka.Producer` it uses.

    `client_factory` may return anything of this shape. The methods of transactions are
    for producers with a `transactional.id`.
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
        """Queue a message, and call `on_delivery(error, message)` once, from a later
        `poll`, `flush` or `close`.

        Topic and value always come, `on_delivery` too; the rest only where the message
        has it. `headers` is a dict, or a list of pairs where a name is there twice; it
        may be changed. `BufferError` when the queue is full, and a `KafkaException`,
        refuse the message.
        """

    def poll(self, timeout: float = -1) -> int:
        """Serve reports and callbacks for at most `timeout` seconds."""

    def flush(self, timeout: float = -1) -> int:
        """Hand everything over; the number still un-acknowledged after `timeout` s."""

    def purge(
        self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True
    ) -> None:
        """Cancel what is queued and in flight; reports come from the next poll."""

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """The cluster's metadata, within `timeout` seconds."""

    def init_transactions(self, timeout: float = -1) -> None:
        """Register the `transactional.id`; within `timeout` seconds, resumable."""

    def begin_transaction(self) -> None:
        """Begin a transaction."""

    def commit_transaction(self, timeout: float = -1) -> None:
        """Commit it; within `timeout` seconds, resumable."""

    def abort_transaction(self, timeout: float = -1) -> None:
        """Abort it; within `timeout` seconds, resumable."""

    def send_offsets_to_transaction(
        self, positions: list[Any], group_metadata: Any, timeout: float = -1
    ) -> None:
        """Make a consumer's offsets part of the transaction."""

    def close(self) -> Any:
        """Destroy the client: its sockets, threads and descriptors."""

    def __len__(self) -> int:
        """Messages and events that wait, are in flight, or are not yet polled."""


ClientFactory: TypeAlias = Callable[[dict[str, Any]], KafkaClient]


@runtime_checkable
class NativeClient(KafkaClient, Protocol):
    """What `Producer.native()` gives: the client, with what the engine does not use."""

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
        """Queue a message, as confluent-kafka does: without a handle or an event.
        `on_delivery`, or `callback`, takes its report."""

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Use these from the next authentication on, as long as this client lives."""

    def cluster_id(self, timeout: float = -1) -> str | None:
        """The cluster's id, within `timeout` seconds."""


class Handle(Protocol):
    """A message on its way, as errors carry it: each is a `DeliveryHandle`.

    It has the surface of `concurrent.futures.Future` without `cancel()`. Thread-safe.
    """

    @property
    def label(self) -> Any:
        """What the message was labelled with."""

    def done(self) -> bool:
        """Whether the outcome is known. Never blocks."""

    def result(self, timeout: Any = None) -> Any:
        """The `DeliveryReport`; waits for at most `timeout` seconds, or raises why the
        message was not delivered."""

    def exception(self, timeout: Any = None) -> BaseException | None:
        """Why the message was not delivered, or None; waits like `result`."""


class Clock(Protocol):
    """Where the library gets its time from: monotonic seconds that count suspension."""

    def now(self) -> float:
        """Seconds since some fixed point in the past."""


class Unsubscribe(Protocol):
    """What `Monitor.subscribe` returns; calling it again does nothing."""

    def __call__(self) -> None:
        """Remove the subscription."""
