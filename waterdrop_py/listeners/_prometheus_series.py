"""The series of `PrometheusListener`: their names and types, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from waterdrop_py.listeners._event_counts import Key
from waterdrop_py.listeners._figures import open_clients
from waterdrop_py.listeners._series import Series
from waterdrop_py.listeners._statistics import COUNTERS, SeriesStatistics
from waterdrop_py.overview import ProducerStats
from waterdrop_py.planning import GAP_EDGES, REOPEN_EDGES, Buckets

LABEL: Final = "producer"
"""The label of every series: `Series.producer`."""
_MICRO: Final = 1e-6


class Distribution(NamedTuple):
    """The value of a histogram: counts and sums between its edges, not cumulative."""

    counts: tuple[int, ...]
    sums: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series.

    Attributes:
        name: without the namespace, and of a counter without `_total`.
        labels: beside `producer` and those of the tags.
        of_workers: what gunicorn's workers add up to, in prometheus_client's words.
        edges: of a histogram, in its unit.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    of_workers: Literal["livesum", "livemax"] = "livesum"
    edges: tuple[float, ...] = ()


ALWAYS: Final = (
    Metric("messages_produced", "counter", "Messages that librdkafka accepted."),
    Metric("messages_acknowledged", "counter", "Messages that were delivered."),
    Metric("messages_failed", "counter", "Accepted messages that ended with an error."),
    Metric("messages_in_flight", "gauge", "Accepted messages without an outcome."),
    Metric("messages_buffered", "gauge", "Messages in the producers' buffers."),
    Metric("clients_open", "gauge", "librdkafka clients that are open."),
    Metric("client_opens", "counter", "librdkafka clients that were opened."),
    Metric("client_disconnects", "counter", "Clients that were closed.", ("reason",)),
    Metric("client_connected_seconds", "counter", "Time with an open client."),
    Metric(
        "client_disconnected_seconds",
        "counter",
        "Time without a client, after a disconnect.",
    ),
    Metric(
        "saved_connection_seconds",
        "counter",
        "Connections that disconnects have released, times the time without them.",
    ),
    Metric(
        "saved_thread_seconds",
        "counter",
        "Threads that disconnects have released, times the time without them.",
    ),
    Metric(
        "saved_descriptor_seconds",
        "counter",
        "Descriptors that disconnects have released, times the time without them.",
    ),
    Metric(
        "idle_timeout_seconds",
        "gauge",
        "The idle timeout in force, of several producers the longest.",
        of_workers="livemax",
    ),
    Metric(
        "reopen_seconds",
        "histogram",
        "Time from a use without a client to its first delivery report.",
        edges=tuple(edge / 1000 for edge in REOPEN_EDGES),
    ),
    Metric(
        "idle_gap_seconds",
        "histogram",
        "Time between two uses of a producer, from 1 s on.",
        edges=GAP_EDGES,
    ),
    Metric(
        "disconnect_refusals",
        "counter",
        "Idle clients that could not be closed safely.",
        ("reason",),
    ),
    Metric("errors", "counter", "Events error.occurred.", ("type",)),
)
OF_TOPICS: Final = (
    Metric(
        "topic_messages", "counter", "Messages by their outcome.", ("topic", "outcome")
    ),
)
OF_STATISTICS: Final = (
    Metric("queue_messages", "gauge", "Messages in librdkafka's queues."),
    Metric("queue_bytes", "gauge", "Bytes of messages in librdkafka's queues."),
    Metric(
        "broker_rtt_seconds",
        "gauge",
        "Round trip time of requests to the broker.",
        ("broker", "stat"),
        "livemax",
    ),
    Metric(
        "broker_queue_seconds",
        "gauge",
        "Time that requests to the broker wait to be sent.",
        ("broker", "stat"),
        "livemax",
    ),
    *(
        Metric(f"broker_{each.name}", "counter", each.help, ("broker",))
        for each in COUNTERS
    ),
)
OWN_LABELS: Final = frozenset(
    label for metric in (*ALWAYS, *OF_TOPICS, *OF_STATISTICS) for label in metric.labels
) | {LABEL, "le", "quantile", "pid"}
"""Labels that no tag can have; `pid` is prometheus_client's own."""

Labels: TypeAlias = tuple[str, ...]


class Reading(NamedTuple):
    """The values of all series, by the metric's name and by the values of its labels.

    Attributes:
        numbers: of counters and gauges.
        distributions: of histograms.
    """

    numbers: dict[str, dict[Labels, float]]
    distributions: dict[str, dict[Labels, Distribution]]


NOTHING: Final = Reading({}, {})


def read(
    figures: Mapping[Series, ProducerStats],
    events: Mapping[str, Mapping[Key, int]],
    statistics: Mapping[Series, SeriesStatistics],
) -> Reading:
    """All values as they are now; `events` has counts of events by metric."""
    reading = Reading({}, {})
    for series, stats in figures.items():
        for name, labels, number in _of_producers(stats):
            reading.numbers.setdefault(name, {})[_labels(series, *labels)] = number
        for name, value in _distributions(stats):
            reading.distributions.setdefault(name, {})[_labels(series)] = value
    for name, counts in events.items():
        for (series, others), number in counts.items():
            reading.numbers.setdefault(name, {})[_labels(series, *others)] = number
    for series, told in statistics.items():
        for name, labels, number in _of_librdkafka(told):
            reading.numbers.setdefault(name, {})[_labels(series, *labels)] = number
    return reading


def _labels(series: Series, *others: str) -> Labels:
    return (series.producer, *series.tags, *others)


def _of_producers(stats: ProducerStats) -> Iterator[tuple[str, Labels, float]]:
    yield "messages_produced", (), stats.produced
    yield "messages_acknowledged", (), stats.acknowledged
    yield "messages_failed", (), stats.failed
    yield "messages_in_flight", (), stats.in_flight
    yield "messages_buffered", (), stats.buffered
    yield "clients_open", (), open_clients(stats)
    yield "client_opens", (), stats.opens
    for reason, number in stats.disconnects.items():
        yield "client_disconnects", (reason,), number
    yield "client_connected_seconds", (), stats.connected_ms / 1000
    yield "client_disconnected_seconds", (), stats.idle_ms_saved / 1000
    yield "saved_connection_seconds", (), stats.saved.connection_s
    yield "saved_thread_seconds", (), stats.saved.thread_s
    yield "saved_descriptor_seconds", (), stats.saved.descriptor_s
    if stats.idle_timeout_ms is not None:
        yield "idle_timeout_seconds", (), stats.idle_timeout_ms / 1000


def _distributions(stats: ProducerStats) -> Iterator[tuple[str, Distribution]]:
    yield "reopen_seconds", _distribution(stats.reopen_times_ms, 0.001)
    yield "idle_gap_seconds", _distribution(stats.idle_gaps_s, 1.0)


def _distribution(buckets: Buckets, unit: float) -> Distribution:
    return Distribution(buckets.counts, tuple(each * unit for each in buckets.sums))


def _of_librdkafka(told: SeriesStatistics) -> Iterator[tuple[str, Labels, float]]:
    yield "queue_messages", (), told.msg_cnt
    yield "queue_bytes", (), told.msg_size
    for node, broker in told.brokers.items():
        for stat, micros in broker.rtt.items():
            yield "broker_rtt_seconds", (node, stat), micros * _MICRO
        for stat, micros in broker.outbuf_latency.items():
            yield "broker_queue_seconds", (node, stat), micros * _MICRO
        for each in COUNTERS:
            yield f"broker_{each.name}", (node,), broker.counters[each.key]
