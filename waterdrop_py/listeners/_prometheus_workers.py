"""`WorkerMetrics`: prometheus_client's own metrics, which its multiprocess mode needs.

There the metrics of each process are in files, and a scrape adds up these files. It
asks no collector.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from waterdrop_py.listeners._prometheus_series import (
    Distribution,
    Labels,
    Metric,
    Reading,
)


class WorkerMetrics:
    """Brings counters, gauges and histograms up to date. For one thread at a time."""

    def __init__(
        self,
        metrics: Iterable[Metric],
        labels: tuple[str, ...],
        namespace: str,
        registry: CollectorRegistry | None,
    ) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, tuple[Histogram, tuple[float, ...]]] = {}
        self.reset()
        for each in metrics:
            names = (*labels, *each.labels)
            if each.kind == "counter":
                self._counters[each.name] = Counter(
                    each.name, each.help, names, namespace, registry=registry
                )
            elif each.kind == "gauge":
                self._gauges[each.name] = Gauge(
                    each.name,
                    each.help,
                    names,
                    namespace,
                    registry=registry,
                    multiprocess_mode=each.of_workers,
                )
            else:
                histogram = Histogram(
                    each.name,
                    each.help,
                    names,
                    namespace,
                    registry=registry,
                    buckets=each.edges,
                )
                self._histograms[each.name] = histogram, each.edges

    def reset(self) -> None:
        """Start at zero: this is a forked child, whose files are new."""
        self._counted: dict[tuple[str, Labels], float] = {}
        self._observed: dict[tuple[str, Labels], Distribution] = {}
        self._shown: dict[str, dict[Labels, float]] = {}

    def update(self, reading: Reading) -> None:
        """Add what has come since the last update."""
        for name, counter in self._counters.items():
            for labels, number in reading.numbers.get(name, {}).items():
                self._count(name, counter, labels, number)
        for name, gauge in self._gauges.items():
            self._show(name, gauge, reading.numbers.get(name, {}))
        for name, (histogram, edges) in self._histograms.items():
            for labels, value in reading.distributions.get(name, {}).items():
                before = self._observed.get((name, labels))
                if value == before:
                    continue
                child = histogram.labels(*labels)
                for amount in _amounts(value, before, edges):
                    child.observe(amount)
                self._observed[name, labels] = value

    def _count(
        self, name: str, counter: Counter, labels: Labels, number: float
    ) -> None:
        before = self._counted.get((name, labels))
        if before is None or number > before:
            # Also where it is 0, so that a rate begins there.
            counter.labels(*labels).inc(number - (before or 0))
            self._counted[name, labels] = number

    def _show(self, name: str, gauge: Gauge, values: Mapping[Labels, float]) -> None:
        """Show `values`, and 0 for those that there are no more."""
        shown = self._shown.get(name, {})
        for labels in shown.keys() - values.keys():
            gauge.labels(*labels).set(0)
        for labels, number in values.items():
            if shown.get(labels) != number:
                gauge.labels(*labels).set(number)
        self._shown[name] = dict(values)


def _amounts(
    now: Distribution, before: Distribution | None, edges: Sequence[float]
) -> list[float]:
    """Values to observe, so that counts and sum become those of `now`.

    The values themselves are not known. Instead of them, their mean in each bucket is
    observed as often; it lies in that bucket and has the same sum.
    """
    size = len(edges) + 1
    counts, sums = before or Distribution((0,) * size, (0.0,) * size)
    amounts: list[float] = []
    for index, number in enumerate(now.counts):
        more = number - counts[index]
        if more <= 0:
            continue
        mean = (now.sums[index] - sums[index]) / more
        low = edges[index - 1] if index else 0.0
        high = edges[index] if index < len(edges) else math.inf
        # The difference of two sums may be rounded past an edge.
        amounts += [min(max(mean, math.nextafter(low, math.inf)), high)] * more
    return amounts
