"""Ends with messages in flight; the exporter stops in an exit handler of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from tests.scenarios.kit import TOPIC, WORDS, make_producer, say
from waterdrop_py import monitor
from waterdrop_py.listeners import OpenTelemetryListener

SPANS: Counter[str] = Counter()


class Telling(SpanProcessor):
    """Counts spans until it is shut down."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Count it."""
        SPANS["started"] += 1

    def on_end(self, span: ReadableSpan) -> None:
        """Count it."""
        SPANS["ended"] += 1

    def shutdown(self) -> None:
        """Tell, as an exporter exports for the last time."""
        say(spans=SPANS)


class Exporter(ConsoleMetricExporter):
    """Tells the last figures."""

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> Any:
        """Tell how many messages have their outcome."""
        data: Any = metrics_data
        told = [scope for each in data.resource_metrics for scope in each.scope_metrics]
        for metric in (metric for scope in told for metric in scope.metrics):
            if metric.name == "messaging.client.sent.messages":
                say(sent=sum(point.value for point in metric.data.data_points))
        return MetricExportResult.SUCCESS


def provide() -> None:
    """Set the global providers."""
    provider = TracerProvider()
    provider.add_span_processor(Telling())
    trace.set_tracer_provider(provider)
    reader = PeriodicExportingMetricReader(Exporter(), 3_600_000)
    metrics.set_meter_provider(MeterProvider([reader]))


def main() -> None:
    """The providers are set before the subscription, or after it."""
    if WORDS[0] == "before":
        provide()
    monitor.subscribe(OpenTelemetryListener())
    if WORDS[0] == "after":
        provide()
    producer = make_producer(kafka={"linger.ms": 200})
    for _ in range(50):
        producer.produce_async(TOPIC, b"x")


main()
