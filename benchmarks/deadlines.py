"""Measures how soon after the deadline idle clients are closed, alone and together."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

import confluent_kafka

from benchmarks import clients
from benchmarks.measure import wait_until
from benchmarks.rows import Row, absolute, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.setting import Setting
    from waterdrop_py import Event, Producer

PAYLOAD = bytes(100)
LATE_MS = {1: 100.0, 100: 100.0, 1000: 1000.0}
"""Milliseconds after the deadline that are allowed, by number of producers."""


def one(setting: Setting) -> list[Row]:
    """One producer, in several rounds."""
    return _rows(setting, 1, setting.pick(20, 10), idle_ms=200)


def hundred(setting: Setting) -> list[Row]:
    """A hundred producers that are due at the same time."""
    return _rows(setting, 100, setting.pick(9, 3), idle_ms=1_000)


def thousand(setting: Setting) -> list[Row]:
    """A thousand producers that are due at the same time.

    Their timeout is long: of a thousand clients that connect at once, some take 10 s in
    librdkafka. One that was closed meanwhile, and is opened again while it still
    closes, would be one more than fits into a process.
    """
    return _rows(setting, 1000, setting.pick(3, 1), idle_ms=20_000)


def _rows(setting: Setting, size: int, rounds: int, *, idle_ms: int) -> list[Row]:
    watch = Watch(idle_ms)
    slowest = _measure(setting, watch, size, rounds, idle_ms)
    many = f"{size} due together" if size > 1 else "1 due"
    return [
        absolute(
            f"disconnect, {many}: earliest after its deadline",
            min(watch.decided_ms),
            unit="ms",
            n=len(watch.decided_ms),
            must=at_least(0.0),
            note="from a producer's last report plus the timeout, to the decision",
        ),
        absolute(
            f"disconnect, {many}: last closed after its deadline",
            median(slowest),
            unit="ms",
            n=rounds,
            must=at_most(LATE_MS[size]),
            note="until the native close returned; the slowest client of a round. "
            f"Slowest of all {max(slowest):.0f} ms; "
            f"its event at {max(watch.event_ms):.0f} ms",
        ),
    ]


def _measure(
    setting: Setting, watch: Watch, size: int, rounds: int, idle_ms: int
) -> list[float]:
    """Milliseconds of the slowest client in each round; the rest is in `watch`."""
    topic = clients.new_topic()
    producers = [
        clients.ours(
            setting.broker,
            idle_ms=idle_ms,
            id=f"due-{number}",
            client_factory=watch.client,
            client_id=f"due-{number}",
            linger_ms=0,
        )
        for number in range(size)
    ]
    for producer in producers:
        watch.follow(producer)
    slowest: list[float] = []
    for _ in range(rounds):
        # The first time opens all clients, which takes a while. The second time makes
        # them due at the same time.
        _send_together(producers, topic)
        _send_together(producers, topic)
        wait_until(
            watch.all_closed, idle_ms / 1000 + clients.BOUND_SECONDS, "disconnected"
        )
        slowest.append(max(watch.closed_ms))
        watch.closed_ms.clear()
    for producer in producers:
        producer.close()
    return slowest


def _send_together(producers: Iterable[Producer], topic: str) -> None:
    # One partition has one leader. A first message to another leader connects first,
    # which sometimes takes librdkafka a second.
    handles = [each.produce_async(topic, PAYLOAD, partition=0) for each in producers]
    for handle in handles:
        handle.result(clients.BOUND_SECONDS)


class Watch:
    """Milliseconds from a client's deadline to the decision, the close and the event.

    The deadline is the time of the last report's event plus the timeout. The library
    records the activity a moment after that event. So figures are too large by that
    moment, and never too small.
    """

    def __init__(self, idle_ms: int) -> None:
        self.decided_ms: list[float] = []
        self.closed_ms: list[float] = []
        self.event_ms: list[float] = []
        self._idle = idle_ms / 1000
        self._deadlines: dict[str, float] = {}
        self._opened: list[None] = []

    def follow(self, producer: Producer) -> None:
        """Record the events of this producer."""
        subscribe = producer.monitor.subscribe
        subscribe("producer.connected", lambda _: self._opened.append(None))
        subscribe("message.acknowledged", self._acknowledged)
        subscribe("producer.disconnecting", self._decided)
        subscribe("producer.disconnected", self._disconnected)

    def client(self, properties: dict[str, Any]) -> confluent_kafka.Producer:
        """Make a client whose close is recorded, for a producer that is followed."""
        return _Client(properties, self)

    def all_closed(self) -> bool:
        """Whether each opened client has had its `producer.disconnected`."""
        return len(self.event_ms) == len(self._opened)

    def closed(self, producer_id: str) -> None:
        """Record that a native close has returned."""
        self.closed_ms.append(_ms_since(self._deadlines[producer_id]))

    def _acknowledged(self, event: Event) -> None:
        self._deadlines[event["producer_id"]] = time.perf_counter() + self._idle

    def _decided(self, event: Event) -> None:
        self.decided_ms.append(_ms_since(self._deadlines[event["producer_id"]]))

    def _disconnected(self, event: Event) -> None:
        self.event_ms.append(_ms_since(self._deadlines[event["producer_id"]]))


class _Client(confluent_kafka.Producer):
    """A client that tells its `Watch` when its close has returned."""

    def __init__(self, properties: dict[str, Any], watch: Watch) -> None:
        super().__init__(properties)
        self._watch = watch
        self._producer_id = properties["client.id"]

    def close(self, *arguments: Any) -> Any:
        """Close, and tell the `Watch`."""
        answer = super().close(*arguments)
        self._watch.closed(self._producer_id)
        return answer


def _ms_since(moment: float) -> float:
    return (time.perf_counter() - moment) * 1000
