"""The series of `OpenTelemetryListener`: their instruments, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from waterdrop_py.listeners._event_counts import Key
from waterdrop_py.listeners._figures import open_clients
from waterdrop_py.listeners._series import Series
from waterdrop_py.listeners._statistics import COUNTERS, SeriesStatistics
from waterdrop_py.overview import ProducerStats

DESTINATION: Final = "messaging.destination.name"
ERROR_TYPE: Final = "error.type"
SENDING: Final[Mapping[str, str]] = {
    "messaging.system": "kafka",
    "messaging.operation.name": "send",
}
"""The attributes of all that is measured of a send."""
DELIVERED: Final = ""
"""Stands for the code of a message that was delivered, in counts by topic."""
_PRODUCER: Final = "waterdrop.producer.id"
_REASON: Final = "waterdrop.close.reason"
_BROKER: Final = "waterdrop.broker.id"
_STAT: Final = "waterdrop.stat"
_OTHER: Final = "_OTHER"
"""What the conventions say for an error whose code is not known."""
_MICRO: Final = 1e-6

Attributes: TypeAlias = dict[str, str]
Value: TypeAlias = tuple[str, float, Attributes]
"""The name of an instrument, a number, and its attributes."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """An observable instrument."""

    name: str
    kind: Literal["counter", "up_down_counter", "gauge"]
    unit: str
    description: str


ALWAYS: Final = (
    Instrument(
        "messaging.client.sent.messages",
        "counter",
        "{message}",
        "Messages that have their outcome.",
    ),
    Instrument(
        "waterdrop.client.count",
        "up_down_counter",
        "{client}",
        "librdkafka clients that are open.",
    ),
    Instrument(
        "waterdrop.client.opened", "counter", "{client}", "Clients that were opened."
    ),
    Instrument(
        "waterdrop.client.closed", "counter", "{client}", "Clients that were closed."
    ),
    Instrument(
        "waterdrop.client.connected.time", "counter", "s", "Time with an open client."
    ),
    Instrument(
        "waterdrop.client.disconnected.time",
        "counter",
        "s",
        "Time without a client, after a disconnect.",
    ),
    Instrument(
        "waterdrop.saved.connection.time",
        "counter",
        "s",
        "Connections that disconnects have released, times the time without them.",
    ),
    Instrument(
        "waterdrop.saved.thread.time",
        "counter",
        "s",
        "Threads that disconnects have released, times the time without them.",
    ),
    Instrument(
        "waterdrop.saved.descriptor.time",
        "counter",
        "s",
        "Descriptors that disconnects have released, times the time without them.",
    ),
    Instrument(
        "waterdrop.message.in_flight",
        "up_down_counter",
        "{message}",
        "Accepted messages without an outcome.",
    ),
)
OF_STATISTICS: Final = (
    Instrument("waterdrop.broker.rtt", "gauge", "s", "Round trip time of requests."),
    Instrument(
        "waterdrop.broker.queue.time",
        "gauge",
        "s",
        "Time that requests to the broker wait to be sent.",
    ),
    *(
        Instrument(f"waterdrop.broker.{each.name}", "counter", each.unit, each.help)
        for each in COUNTERS
    ),
)


def attributes_of(series: Series) -> Attributes:
    """The attributes of all values of a series."""
    return {_PRODUCER: series.producer} if series.producer else {}


def read(
    figures: Mapping[Series, ProducerStats],
    topics: Mapping[Key, int] | None,
    statistics: Mapping[Series, SeriesStatistics],
) -> Iterator[Value]:
    """All values as they are now.

    `topics`: messages by topic and code; None where they are not counted by topic.
    """
    for series, stats in figures.items():
        yield from _of_producers(stats, attributes_of(series))
        if topics is None:
            yield from _sent(stats, attributes_of(series))
    for (series, (topic, code)), number in (topics or {}).items():
        attributes = {**SENDING, DESTINATION: topic, **attributes_of(series)}
        if code != DELIVERED:
            attributes[ERROR_TYPE] = code
        yield "messaging.client.sent.messages", number, attributes
    for series, told in statistics.items():
        yield from _of_librdkafka(told, attributes_of(series))


def _sent(stats: ProducerStats, of: Attributes) -> Iterable[Value]:
    name = "messaging.client.sent.messages"
    yield name, stats.acknowledged, {**SENDING, **of}
    if stats.failed:
        yield name, stats.failed, {**SENDING, ERROR_TYPE: _OTHER, **of}


def _of_producers(stats: ProducerStats, of: Attributes) -> Iterator[Value]:
    yield "waterdrop.client.count", open_clients(stats), of
    yield "waterdrop.client.opened", stats.opens, of
    for reason, number in stats.disconnects.items():
        yield "waterdrop.client.closed", number, {**of, _REASON: reason}
    yield "waterdrop.client.connected.time", stats.connected_ms / 1000, of
    yield "waterdrop.client.disconnected.time", stats.idle_ms_saved / 1000, of
    yield "waterdrop.saved.connection.time", stats.saved.connection_s, of
    yield "waterdrop.saved.thread.time", stats.saved.thread_s, of
    yield "waterdrop.saved.descriptor.time", stats.saved.descriptor_s, of
    yield "waterdrop.message.in_flight", stats.in_flight, of


def _of_librdkafka(told: SeriesStatistics, of: Attributes) -> Iterator[Value]:
    for node, broker in told.brokers.items():
        there = {**of, _BROKER: node}
        for stat, micros in broker.rtt.items():
            yield "waterdrop.broker.rtt", micros * _MICRO, {**there, _STAT: stat}
        for stat, micros in broker.outbuf_latency.items():
            yield "waterdrop.broker.queue.time", micros * _MICRO, {**there, _STAT: stat}
        for each in COUNTERS:
            yield f"waterdrop.broker.{each.name}", broker.counters[each.key], there
