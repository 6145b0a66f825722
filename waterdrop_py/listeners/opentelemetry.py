"""Defines `OpenTelemetryListener`: metrics, and a span for each message."""

from __future__ import annotations

from functools import partial

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import TracerProvider

from waterdrop_py.listeners._tracing import DURATION_BUCKETS, Tracing
from waterdrop_py.message import Message
from waterdrop_py.monitor import Event

_NAME = "waterdrop_py"


class OpenTelemetryListener:
    """Metrics and spans: `monitor.subscribe(OpenTelemetryListener())`.

    Args:
        meter_provider: None is the global one.
        tracer_provider: None is the global one.
        propagator: puts the context of a span into headers; None is the global one.
        tracing: have each message of a producer that is made after the subscription
            make a span.
        topics: also count messages by topic, from the events of each message.
        statistics: also report librdkafka's statistics.
    """

    only_counts = True

    def __init__(
        self,
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        propagator: TextMapPropagator | None = None,
        tracing: bool = True,
        topics: bool = False,
        statistics: bool = False,
    ) -> None:
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._tracing = Tracing(
            trace.get_tracer(_NAME, tracer_provider=tracer_provider),
            propagator,
            meter.create_histogram(
                "messaging.client.operation.duration",
                unit="s",
                description="Duration of sending a message, until its outcome.",
                explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
            ),
            by_topic=topics,
        )
        if tracing:
            self.on_producer_configured = self._equip

    def trace(self, message: Message) -> Message:
        """Start a span for a message: a step for `producer.middleware.append`.

        For producers that were made before the subscription. A message that has a
        `traceparent` is left alone, and so is each one while
        opentelemetry-instrumentation-confluent-kafka is active.
        """
        return self._tracing.step(message, {})

    def _equip(self, event: Event) -> None:
        """Have the messages of a new producer make spans."""
        event["producer"].middleware.append(partial(self._tracing.step, labels={}))
