"""The producers of the demo: what they have sent, and their events."""

from __future__ import annotations

import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

from waterdrop_py._engine.connection.states import Status
from waterdrop_py.config import Config
from waterdrop_py.producer import Producer
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py.cli.demo.cluster import Target
    from waterdrop_py.events import Event

CLOSE_MS: Final = 2_000


class TimedEvent(NamedTuple):
    """An event, with its time in seconds since the start and its producer's name."""

    at: float
    name: str
    event: Event

    def __str__(self) -> str:
        return f"{self.name:<8} {_told(self.event)}"


class DemoProducer:
    """One producer, and what it has sent. Its events go to `news`, if there is one.

    Attributes:
        sent: the payload of each accepted message; no two are equal.
        late_ms: milliseconds after the deadline, for each idle disconnect.
    """

    def __init__(
        self, name: str, target: Target, idle_ms: int, news: EventQueue | None
    ) -> None:
        self.name = name
        self.sent: list[bytes] = []
        self.late_ms: list[float] = []
        self._target = target
        with allow_short_idle_timeouts():
            config = Config(
                id=name,
                kafka=target.kafka(),
                idle_disconnect_timeout=idle_ms,
                max_wait_timeout=10_000,
                close_timeout=CLOSE_MS,
            )
        self.producer: Producer = Producer(config)
        if news is not None:
            monitor = self.producer.monitor
            monitor.subscribe("producer.connected", partial(news.put, name))
            monitor.subscribe("producer.disconnected", self._disconnected)
            monitor.subscribe("producer.disconnected", partial(news.put, name))
            monitor.subscribe("error.occurred", partial(news.put, name))

    @property
    def is_idle(self) -> bool:
        """Whether its client has been closed."""
        return self.producer.status is Status.DISCONNECTED

    def deliver(self, partition: int) -> None:
        """Send a message and wait for its report. Raises `ProduceError`."""
        payload = self._next()
        self.producer.produce_sync(self._target.topic, payload, partition=partition)
        self.sent.append(payload)

    def send(self, count: int) -> None:
        """Send messages to the partitions in turn, without waiting.

        Raises `ProduceError` when one is not accepted.
        """
        for _ in range(count):
            payload = self._next()
            partition = len(self.sent) % self._target.partitions
            self.producer.produce_async(
                self._target.topic, payload, partition=partition
            )
            self.sent.append(payload)

    def _next(self) -> bytes:
        return f"{self.name} {len(self.sent)}".encode()

    def _disconnected(self, event: Event) -> None:
        if event["reason"] == "idle":
            timeout_ms = self.producer.config.idle_disconnect_timeout
            self.late_ms.append(event["idle_ms"] - timeout_ms)


class EventQueue:
    """Events on their way from the library's threads to the screen."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._queue: SimpleQueue[TimedEvent] = SimpleQueue()

    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def put(self, name: str, event: Event) -> None:
        """Add an event; callable from any thread."""
        self._queue.put(TimedEvent(self.seconds(), name, event))

    def take(self) -> Iterator[TimedEvent]:
        """Take all events that have come since the last call."""
        while True:
            try:
                yield self._queue.get_nowait()
            except Empty:
                return


def _told(event: Event) -> str:
    if event.name == "producer.connected":
        verb = "re-opened" if event["reopened"] else "opened"
        return f"{verb} in {event['time']:.1f} ms"
    if event.name == "producer.disconnected":
        return f"{event['reason']}: {_released(event)}"
    return f"{event.name}: {event['type']}: {str(event['error']).splitlines()[0]}"


def _released(event: Event) -> str:
    released = event["released"]
    if released is None:
        return "closed"
    return (
        f"closed {released['sockets']} sockets, {released['threads']} threads, "
        f"{released['fds']} fds"
    )
