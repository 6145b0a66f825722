"""How exactly idle clients are closed, when many fall due together."""

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


def one(setting: Setting) -> list[Row]:
    """A single producer, again and again."""
    return _rows(setting, 1, setting.pick(20, 10), idle_ms=200)


def hundred(setting: Setting) -> list[Row]:
    """A hundred that fall due together."""
    return _rows(setting, 100, setting.pick(9, 3), idle_ms=1_000)


def thousand(setting: Setting) -> list[Row]:
    """A thousand that fall due together."""
    return _rows(setting, 1000, setting.pick(5, 1), idle_ms=6_000)


def _rows(setting: Setting, size: int, rounds: int, *, idle_ms: int) -> list[Row]:
    topic = clients.new_topic()
    watch = Watch(idle_ms)
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
        # Once to open them all, which takes a while; again to fall due together.
        _send_together(producers, topic)
        _send_together(producers, topic)
        wait_until(
            watch.all_closed, idle_ms / 1000 + clients.BOUND_SECONDS, "disconnected"
        )
        slowest.append(max(watch.closed_ms))
        watch.closed_ms.clear()
    for producer in producers:
        producer.close()
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
            f"its event at {max(watch.told_ms):.0f} ms",
        ),
    ]


def _send_together(producers: Iterable[Producer], topic: str) -> None:
    # One partition, so one leader: the first message to another one has to connect
    # first, which takes librdkafka a second now and then.
    handles = [each.produce_async(topic, PAYLOAD, partition=0) for each in producers]
    for handle in handles:
        handle.result(clients.BOUND_SECONDS)


class Watch:
    """How many ms after its deadline each client was let go of, closed, told of.

    The deadline is the last report's event plus the timeout. The library notes the
    activity a moment after that event: by that moment, nothing shows as earlier
    than it was, and everything as later.
    """

    def __init__(self, idle_ms: int) -> None:
        self.decided_ms: list[float] = []
        self.closed_ms: list[float] = []
        self.told_ms: list[float] = []
        self._idle = idle_ms / 1000
        self._deadlines: dict[str, float] = {}
        self._opened: list[None] = []

    def follow(self, producer: Producer) -> None:
        """Note what this producer's events say."""
        subscribe = producer.monitor.subscribe
        subscribe("producer.connected", lambda _: self._opened.append(None))
        subscribe("message.acknowledged", self._acknowledged)
        subscribe("producer.disconnecting", self._decided)
        subscribe("producer.disconnected", self._told)

    def client(self, properties: dict[str, Any]) -> confluent_kafka.Producer:
        """A client that says when it is closed, of a producer that is followed."""
        return _Client(properties, self)

    def all_closed(self) -> bool:
        """Whether what was opened is closed, and told of."""
        return len(self.told_ms) == len(self._opened)

    def closed(self, producer_id: str) -> None:
        """A native close has returned."""
        self.closed_ms.append(_ms_since(self._deadlines[producer_id]))

    def _acknowledged(self, event: Event) -> None:
        self._deadlines[event["producer_id"]] = time.perf_counter() + self._idle

    def _decided(self, event: Event) -> None:
        self.decided_ms.append(_ms_since(self._deadlines[event["producer_id"]]))

    def _told(self, event: Event) -> None:
        self.told_ms.append(_ms_since(self._deadlines[event["producer_id"]]))


class _Client(confluent_kafka.Producer):
    """Says when its close has returned."""

    def __init__(self, properties: dict[str, Any], watch: Watch) -> None:
        super().__init__(properties)
        self._watch = watch
        self._producer_id = properties["client.id"]

    def close(self, *arguments: Any) -> Any:
        """Close, and say so."""
        answer = super().close(*arguments)
        self._watch.closed(self._producer_id)
        return answer


def _ms_since(moment: float) -> float:
    return (time.perf_counter() - moment) * 1000
