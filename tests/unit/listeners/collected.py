"""What readers of OpenTelemetry's SDK collect from a listener."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.unit.listeners.spans import Spans
from waterdrop_py import monitor


class Collected:
    """A reader, and what a listener told it of one producer."""

    def __init__(self, *, readers: int = 1, **options: Any) -> None:
        self.readers = [InMemoryMetricReader() for _ in range(readers)]
        self.reader = self.readers[0]
        self.spans = Spans()
        provider = MeterProvider(self.readers)
        self.listener = self.spans.listener(meter_provider=provider, **options)
        self.unsubscribe = monitor.subscribe(self.listener)

    def metrics(self) -> dict[str, Any]:
        """All metrics by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [
            scope for each in data.resource_metrics for scope in each.scope_metrics
        ]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str, producer: str | None) -> list[tuple[Any, Any]]:
        """Attributes without the producer's, and the point itself."""
        metric = self.metrics().get(name)
        found = []
        for point in metric.data.data_points if metric else ():
            attributes = dict(point.attributes)
            if attributes.pop("waterdrop.producer.id", None) == producer:
                found.append((attributes, point))
        return found

    def values(self, name: str, producer: str | None) -> list[tuple[Any, Any]]:
        """Attributes and values."""
        return [(attributes, p.value) for attributes, p in self.points(name, producer)]

    def value(self, name: str, producer: str | None) -> Any:
        """The only value."""
        [(_, value)] = self.values(name, producer)
        return value
