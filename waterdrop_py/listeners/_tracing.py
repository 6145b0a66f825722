"""A span for each message: the step of `OpenTelemetryListener` in the middleware."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from opentelemetry import context, propagate
from opentelemetry.metrics import Histogram
from opentelemetry.propagators.textmap import Setter, TextMapPropagator
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from waterdrop_py._settings.plain import plain
from waterdrop_py.listeners._opentelemetry_series import (
    DESTINATION,
    ERROR_TYPE,
    SENDING,
)
from waterdrop_py.message import PAIR, Message, traced
from waterdrop_py.middleware import Trace
from waterdrop_py.overview import close_at_exit

DURATION_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0),
    *(2.5, 5.0, 7.5, 10.0),
)
"""Seconds, as the conventions for messaging advise."""

_TYPE: Final = "messaging.operation.type"
_PARTITION: Final = "messaging.destination.partition.id"
_OFFSET: Final = "messaging.kafka.offset"
_KEY: Final = "messaging.kafka.message.key"
_TOMBSTONE: Final = "messaging.kafka.message.tombstone"
_LONGEST_TOPIC: Final = 249
_INSTRUMENTOR: Final = "opentelemetry.instrumentation.confluent_kafka"
_SUPPRESSED: Final = getattr(
    context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"
)
_NOT_CONTEXT: Final = frozenset({"baggage", "tracestate"})
"""Headers of a propagator that alone make no context."""


class _Pairs(Setter[list[tuple[str, bytes]]]):
    """Collects the headers of a propagator as Kafka's."""

    def set(self, carrier: list[tuple[str, bytes]], key: str, value: str) -> None:
        carrier.append((key, value.encode()))


_PAIRS: Final = _Pairs()


class Tracing:
    """Starts spans, and ends each with the outcome of its message. Thread-safe."""

    def __init__(
        self,
        tracer: Tracer,
        propagator: TextMapPropagator | None,
        durations: Histogram,
        *,
        by_topic: bool,
    ) -> None:
        """`durations` gets the seconds of each message, `by_topic` with its topic."""
        self._tracer = tracer
        self._propagator = propagator
        self._durations = durations
        self._by_topic = by_topic
        self._began = False
        self._names: tuple[object, frozenset[str]] = (None, frozenset())

    def step(self, message: Message, labels: Mapping[str, str]) -> Message:
        """The message with the context of its new span. `labels`: of its producer."""
        propagator = self._propagator
        if propagator is None:
            propagator = propagate.get_global_textmap()
        if _is_suppressed() or self._has_context(message.headers, propagator):
            return message
        span = self._start(message)
        if not self._began:  # by now the provider has registered its exit handler
            self._began = True
            close_at_exit()
        try:
            headers = _with_context(message.headers, span, propagator)
            trace = Trace(partial(self._end, span, _topic_of(message), labels))
            return traced(message, headers, trace)
        except BaseException:
            span.end()
            raise

    def _has_context(self, headers: Any, propagator: TextMapPropagator) -> bool:
        """Whether the message has a context already, of this propagator or W3C's."""
        if not headers:
            return False
        known, fields = self._names
        if known is not propagator:
            fields = frozenset({"traceparent", *propagator.fields}) - _NOT_CONTEXT
            self._names = (propagator, fields)
        return not fields.isdisjoint(_names_of(headers) or ())

    def _start(self, message: Message) -> Span:
        topic, key = _topic_of(message), plain(message.key)
        attributes: dict[str, Any] = {**SENDING, _TYPE: "send"}
        if topic:
            attributes[DESTINATION] = topic
        if isinstance(key, str):
            attributes[_KEY] = key
        if message.payload is None:
            attributes[_TOMBSTONE] = True
        return self._tracer.start_span(
            _name(topic), kind=SpanKind.PRODUCER, attributes=attributes
        )

    def _end(
        self,
        span: Span,
        topic: str,
        labels: Mapping[str, str],
        report: Any,
        error: BaseException | None,
        seconds: float,
    ) -> None:
        """Hear of the outcome of a message."""
        attributes = {**SENDING, **labels}
        if self._by_topic and topic:
            attributes[DESTINATION] = topic if report is None else report.topic
        if error is not None:
            attributes[ERROR_TYPE] = error_type(error)
        try:
            _describe(span, topic, report, error)
            # With the span, of which the SDK makes an exemplar.
            of_span = set_span_in_context(span)
            self._durations.record(seconds, attributes, context=of_span)
        finally:
            span.end()


def error_type(error: BaseException) -> str:
    """The code of an error, or the name of its class."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) and code else type(error).__qualname__


def _with_context(given: Any, span: Span, propagator: TextMapPropagator) -> Any:
    """The headers of the caller, and beside them those of the span's context.

    A header of the caller's stays the only one of its name.
    """
    found: list[tuple[str, bytes]] = []
    propagator.inject(found, set_span_in_context(span), _PAIRS)
    names = _names_of(given)
    if names is None:  # they are refused as the message is validated
        return given
    added = [pair for pair in found if pair[0] not in names]
    if not given:
        return added or given
    return {**given, **dict(added)} if isinstance(given, Mapping) else [*given, *added]


def _describe(span: Span, topic: str, report: Any, error: BaseException | None) -> None:
    """Write the outcome into the span. No text of an error: it may show a key."""
    found: dict[str, Any] = {}
    if report is not None:
        partition, offset = report.partition, report.offset
        if report.topic != topic:  # a later step has moved it
            span.update_name(_name(report.topic))
            found[DESTINATION] = report.topic
        if partition is not None:
            found[_PARTITION] = str(partition)
        if offset is not None:
            found[_OFFSET] = offset
    if error is not None:
        found[ERROR_TYPE] = error_type(error)
        span.set_status(Status(StatusCode.ERROR, error_type(error)))
    span.set_attributes(found)


def _name(topic: str) -> str:
    return f"send {topic}" if topic else "send"


def _topic_of(message: Message) -> str:
    """The topic of a message that is not validated yet; empty if it cannot be one."""
    topic = plain(message.topic)
    fits = isinstance(topic, str) and len(topic) <= _LONGEST_TOPIC
    return topic if fits else ""


def _names_of(headers: Any) -> set[Any] | None:
    """The names of headers that are not validated yet; None if they cannot be any."""
    if headers is None:
        return set()
    if isinstance(headers, Mapping):
        return set(headers)
    if not isinstance(headers, Sequence) or isinstance(headers, str | bytes):
        return None
    return {
        plain(pair[0])
        for pair in headers
        if isinstance(pair, tuple | list)
        and len(pair) == PAIR
        and isinstance(pair[0], str)
    }


def _is_suppressed() -> bool:
    """Whether this is another instrumentation's work, or there must be none.

    That of confluent-kafka makes a span for each call of the client, while it is
    active. Exporters run with instrumentation suppressed.
    """
    module = sys.modules.get(_INSTRUMENTOR)
    instrumentor = getattr(module, "ConfluentKafkaInstrumentor", None)
    if instrumentor is not None and instrumentor().is_instrumented_by_opentelemetry:
        return True
    return bool(context.get_value(_SUPPRESSED))
