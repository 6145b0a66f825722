"""Defines `PrometheusListener`, which exposes figures to Prometheus."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.listeners._extras import missing
from waterdrop_py.listeners._metrics import MetricsListener
from waterdrop_py.listeners._prometheus_series import (
    ALWAYS,
    LABEL,
    NOTHING,
    OF_STATISTICS,
    OF_TOPICS,
    OWN_LABELS,
    Distribution,
    Metric,
    read,
)

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.core import Metric as Family
    from prometheus_client.utils import floatToGoString

    from waterdrop_py.listeners._prometheus_workers import WorkerMetrics
except ImportError as _error:
    raise missing("PrometheusListener", "prometheus", _error) from _error

INTERVAL: Final = 5.0
"""Seconds between two updates of the files of prometheus_client's multiprocess mode."""
_VARIABLES: Final = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_NAMESPACE: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class PrometheusListener(MetricsListener):
    """Exposes figures: `monitor.subscribe(PrometheusListener())`.

    Reports every producer of the process, also those that were made before. Counts are
    read at the scrape, so a message costs nothing. A scrape opens no client and is no
    activity; it takes about 20 us for each producer. Series have the label `producer`
    with an id that the user gave the producer, or the name of its pool; all others add
    up under an empty one. Counters never fall. Times are in seconds, sizes in bytes. A
    forked child starts at zero.

    Where PROMETHEUS_MULTIPROC_DIR is set, as with gunicorn, prometheus_client asks no
    collector. There its own metrics are kept, and brought up to date every 5 s by the
    thread `waterdrop-metrics` while a client is open, and at each disconnect and close.

    Args:
        registry: where it registers itself; None: nowhere.
        namespace: the prefix of all names, which an underscore follows; empty: none.
        tag_labels: names of tags of producers that become labels. The label of a
            producer without the tag is empty.
        topics: also count messages by topic and outcome. That takes the events of each
            message, which slow down every send.
        statistics: also expose librdkafka's statistics, by broker. Clients that are
            opened afterwards collect them.

    Thread-safe. When its subscription ends, it leaves the registry.

    Raises:
        InvalidArgumentError: an argument is invalid.
        ValueError: the registry has series of these names already.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> from waterdrop_py.listeners import PrometheusListener
        >>> registry = CollectorRegistry()
        >>> unsubscribe = monitor.subscribe(PrometheusListener(registry))
        >>> with Producer(config, id="billing") as producer:
        ...     report = producer.produce_sync("orders", b"first")
        >>> name = "waterdrop_messages_acknowledged_total"
        >>> registry.get_sample_value(name, {"producer": "billing"}) == 1
        True
        >>> unsubscribe()
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = REGISTRY,
        *,
        namespace: str = "waterdrop",
        tag_labels: Iterable[str] = (),
        topics: bool = False,
        statistics: bool = False,
    ) -> None:
        in_workers = any(os.environ.get(name) for name in _VARIABLES)
        super().__init__(
            tag_labels=tag_labels,
            topics=topics,
            statistics=statistics,
            interval=INTERVAL if in_workers else None,
        )
        _check(registry, namespace, self._tag_labels)
        self._prefix = f"{namespace}_" if namespace else ""
        self._registry = registry
        self._metrics = (
            *ALWAYS,
            *(OF_TOPICS if topics else ()),
            *(OF_STATISTICS if statistics else ()),
        )
        self._labels = (LABEL, *self._tag_labels)
        self._last = NOTHING
        self._workers: WorkerMetrics | None = None
        self._registered = not in_workers and registry is not None
        if in_workers:
            self._workers = WorkerMetrics(
                self._metrics, self._labels, namespace, registry
            )
        elif registry is not None:
            registry.register(self)

    # -- a collector -------------------------------------------------------

    def describe(self) -> Iterator[Family]:
        """The families without values, by which the registry finds duplicates."""
        for metric in self._metrics:
            yield self._family(metric)

    def collect(self) -> Iterator[Family]:
        """The families with the values of now. Called at each scrape.

        Blocks for at most 1 s while another thread reads, and then gives the values of
        the last reading.
        """
        self._turn.run(self._read)
        reading = self._last
        for metric in self._metrics:
            family: Any = self._family(metric)
            for labels, number in reading.numbers.get(metric.name, {}).items():
                family.add_metric(labels, number)
            for labels, value in reading.distributions.get(metric.name, {}).items():
                buckets = _cumulative(value, metric.edges)
                family.add_metric(labels, buckets, sum(value.sums))
            yield family

    def _family(self, metric: Metric) -> Family:
        name, labels = self._prefix + metric.name, (*self._labels, *metric.labels)
        if metric.kind == "counter":
            return CounterMetricFamily(name, metric.help, labels=labels)
        if metric.kind == "gauge":
            return GaugeMetricFamily(name, metric.help, labels=labels)
        return HistogramMetricFamily(name, metric.help, labels=labels)

    def _read(self) -> None:
        statistics = self._statistics
        self._last = read(
            self._figures(),
            {
                "errors": self._errors.read(),
                "disconnect_refusals": self._refusals.read(),
                "topic_messages": self._topics.read(),
            },
            {} if statistics is None else statistics.read(),
        )

    # -- in workers --------------------------------------------------------

    def push(self) -> None:
        """Bring the metrics of prometheus_client up to date, in multiprocess mode."""
        if self._workers is not None:
            self._read()
            self._workers.update(self._last)

    def reset(self) -> None:
        """Start at zero: this is a forked child."""
        super().reset()
        self._last = NOTHING
        if self._workers is not None:
            self._workers.reset()

    # -- subscriptions -----------------------------------------------------

    def subscribed(self) -> None:
        """A subscription has begun: be in the registry.

        Raises:
            ValueError: the registry has got series of these names meanwhile.
        """
        if self._workers is None and self._registry is not None:
            if not self._registered:
                self._registry.register(self)
            self._registered = True
        super().subscribed()

    def unsubscribed(self) -> None:
        """A subscription has ended: leave the registry with the last one."""
        super().unsubscribed()
        if self._registered and not self._subscriptions and self._registry is not None:
            self._registered = False
            self._registry.unregister(self)


def _cumulative(
    value: Distribution, edges: tuple[float, ...]
) -> list[tuple[str, float]]:
    """The buckets as Prometheus has them: how many values are at most each edge."""
    buckets: list[tuple[str, float]] = []
    total = 0
    for edge, number in zip((*edges, float("inf")), value.counts, strict=True):
        total += number
        text: str = floatToGoString(edge)  # type: ignore[no-untyped-call]
        buckets.append((text, float(total)))
    return buckets


def _check(registry: object, namespace: object, tag_labels: tuple[str, ...]) -> None:
    if registry is not None and not isinstance(registry, CollectorRegistry):
        raise InvalidArgumentError(
            "registry: must be a prometheus_client.CollectorRegistry or None, got "
            f"{shown(registry)}"
        )
    if not isinstance(namespace, str) or (
        namespace and not _NAMESPACE.fullmatch(namespace)
    ):
        raise InvalidArgumentError(
            "namespace: must be a str of ASCII letters, digits, _ and :, which does "
            f"not begin with a digit, got {shown(namespace)}"
        )
    for name in tag_labels:
        if name in OWN_LABELS or not _LABEL.fullmatch(name):
            raise InvalidArgumentError(
                "tag_labels: must be names of ASCII letters, digits and _, which begin "
                "neither with a digit nor with __ and are none of "
                f"{', '.join(sorted(OWN_LABELS))}, got {shown(name)}"
            )
