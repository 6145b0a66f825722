"""Wraps each tracer with the same methods: install it, and read what it traced."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import confluent_kafka

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Pairs = list[tuple[str, bytes]]


class Span(NamedTuple):
    """The ids of a span, and whether it failed."""

    id: int
    trace: int
    parent: int | None
    failed: bool


def is_linked(contexts: Sequence[object], spans: Sequence[Span], trace: int) -> bool:
    """Whether each message has the context of one span, in the caller's trace."""
    known = {(span.trace, span.id) for span in spans if span.parent}
    return set(contexts) == known and {span.trace for span in spans} == {trace}


class OpenTelemetry:
    """`ConfluentKafkaInstrumentor().instrument()`."""

    NAME = "{} send"

    def __init__(self) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
            InMemorySpanExporter,
        )

        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        trace.set_tracer_provider(provider)
        self._tracer = trace.get_tracer("test")

    def install(self) -> None:
        """Patch the library."""
        from opentelemetry.instrumentation.confluent_kafka import (
            ConfluentKafkaInstrumentor,
        )

        ConfluentKafkaInstrumentor().instrument()

    def options(self) -> dict[str, Any]:
        """The options of a producer for this tracer."""
        return {}

    @contextmanager
    def caller(self) -> Iterator[int]:
        """Enter a span around the sends; give the id of its trace."""
        with self._tracer.start_as_current_span("caller") as span:
            yield span.get_span_context().trace_id

    def spans(self, topic: str) -> list[Span]:
        """The spans of messages to a topic."""
        return [
            Span(
                span.context.span_id,
                span.context.trace_id,
                span.parent.span_id if span.parent else None,
                not span.status.is_ok and bool(span.events),
            )
            for span in self._exporter.get_finished_spans()
            if span.name == self.NAME.format(topic)
        ]

    def context(self, headers: Pairs) -> tuple[int, int] | None:
        """The trace id and the span id in the headers of a message."""
        found = dict(headers).get("traceparent")
        if found is None:
            return None
        _, trace_id, span_id, _ = found.decode().split("-")
        return int(trace_id, 16), int(span_id, 16)

    def linked(
        self, contexts: Sequence[object], spans: Sequence[Span], trace: int
    ) -> bool:
        """Whether each message has the context of one span, in the caller's trace."""
        return is_linked(contexts, spans, trace)


class Proxied(OpenTelemetry):
    """`ConfluentKafkaInstrumentor.instrument_producer`."""

    def install(self) -> None:
        """Patch nothing."""

    def options(self) -> dict[str, Any]:
        """A factory that wraps the client."""
        from opentelemetry.instrumentation.confluent_kafka import (
            ConfluentKafkaInstrumentor,
        )

        wrap = ConfluentKafkaInstrumentor.instrument_producer
        return {"client_factory": lambda conf: wrap(confluent_kafka.Producer(conf))}


class Listener(OpenTelemetry):
    """`OpenTelemetryListener` alone, for producers that are made later."""

    NAME = "send {}"

    def install(self) -> None:
        """Subscribe it."""
        from waterdrop_py import monitor
        from waterdrop_py.listeners import OpenTelemetryListener

        monitor.subscribe(OpenTelemetryListener())


class Beside(Listener):
    """`OpenTelemetryListener` next to the instrumentor, which makes the spans."""

    NAME = OpenTelemetry.NAME

    def install(self) -> None:
        """Subscribe, and patch the library."""
        super().install()
        OpenTelemetry.install(self)


class Datadog:
    """`ddtrace.patch(kafka=True)`."""

    SETTING = "DD_KAFKA_PROPAGATION_ENABLED"

    def __init__(self) -> None:
        os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = "0"
        os.environ["DD_REMOTE_CONFIGURATION_ENABLED"] = "0"
        os.environ["DD_TRACE_LOG_LEVEL"] = "CRITICAL"
        os.environ[self.SETTING] = "1"
        from ddtrace.trace import TraceFilter, tracer

        kept = self._kept = []  # type: list[Any]

        class Keep(TraceFilter):
            """Keep the spans, and send none to an agent."""

            def process_trace(self, trace: list[Any]) -> None:
                kept.extend(trace)

        self._tracer = tracer
        tracer.configure(trace_processors=[Keep()])

    def install(self) -> None:
        """Patch the library."""
        from ddtrace import patch

        patch(kafka=True)

    def options(self) -> dict[str, Any]:
        """The options of a producer for this tracer."""
        return {}

    @contextmanager
    def caller(self) -> Iterator[int]:
        """Enter a span around the sends; give the id of its trace."""
        with self._tracer.trace("caller") as span:
            yield span.trace_id

    def spans(self, topic: str) -> list[Span]:
        """The spans of messages to a topic."""
        return [
            Span(span.span_id, span.trace_id, span.parent_id, bool(span.error))
            for span in self._kept
            if span.name == "kafka.produce" and span.get_tag("kafka.topic") == topic
        ]

    def context(self, headers: Pairs) -> tuple[int, int] | None:
        """The lower half of the trace id, and the span id, of a message's headers."""
        found = dict(headers)
        if "x-datadog-trace-id" not in found:
            return None
        return int(found["x-datadog-trace-id"]), int(found["x-datadog-parent-id"])

    def linked(
        self, contexts: Sequence[object], spans: Sequence[Span], trace: int
    ) -> bool:
        """Whether each message has the context of one span, in the caller's trace."""
        half = 2**64
        lower = [span._replace(trace=span.trace % half) for span in spans]
        return is_linked(contexts, lower, trace % half)


class Streams(Datadog):
    """Only data streams: the context is a pathway, not a span."""

    SETTING = "DD_DATA_STREAMS_ENABLED"

    def context(self, headers: Pairs) -> tuple[int, int] | None:
        """The pathway, which is different for each message."""
        found = dict(headers).get("dd-pathway-ctx-base64")
        return None if found is None else (0, hash(found))

    def linked(self, *_: object) -> bool:
        """True: pathways have no spans to compare with."""
        return True


class Serializing(Datadog):
    """A `SerializingProducer`, which ddtrace patches too."""

    def options(self) -> dict[str, Any]:
        """A factory that looks up the class at each open, like the default one."""

        def serialize(key: bytes | None, _context: object) -> bytes | None:
            if key not in {None, b"k"}:
                raise ValueError(key)  # the tracer passed the value as the key
            return key

        def factory(conf: dict[str, Any]) -> Any:
            settings = {**conf, "key.serializer": serialize}
            return confluent_kafka.SerializingProducer(settings)

        return {"client_factory": factory}


TRACERS: dict[str, Any] = {
    "otel": OpenTelemetry,
    "otel-proxied": Proxied,
    "listener": Listener,
    "listener-beside": Beside,
    "ddtrace": Datadog,
    "ddtrace-streams": Streams,
    "ddtrace-serializing": Serializing,
}
