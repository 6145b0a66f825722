"""Defines `OpenTelemetryListener`: metrics, and a span for each message."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import partial
from typing import Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._settings.arguments import flag
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import Event
from waterdrop_py.listeners._extras import missing
from waterdrop_py.listeners._metrics import MetricsListener, Outcome
from waterdrop_py.listeners._opentelemetry_series import (
    ALWAYS,
    DELIVERED,
    OF_STATISTICS,
    Instrument,
    Value,
    attributes_of,
    read,
)
from waterdrop_py.message import Message
from waterdrop_py.overview import close_at_exit
from waterdrop_py.planning import REOPEN_EDGES

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import (
        CallbackOptions,
        Meter,
        MeterProvider,
        Observation,
    )
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import TracerProvider

    from waterdrop_py.listeners._tracing import DURATION_BUCKETS, Tracing, error_type
except ImportError as _error:
    raise missing("OpenTelemetryListener", "opentelemetry", _error) from _error

_NAME: Final = "waterdrop_py"
_FRESH: Final = 1.0
"""Seconds for which the instruments of one collection share a reading."""


class OpenTelemetryListener(MetricsListener):
    """Reports metrics and spans: `monitor.subscribe(OpenTelemetryListener())`.

    Metrics are of every producer of the process, also of those that were made before.
    Counts are read as they are collected, so a message costs nothing. A collection
    opens no client and is no activity; it takes about 20 us for each producer. They
    have the attribute `waterdrop.producer.id` with an id that the user gave the
    producer, or the name of its pool; all others add up without it. Times are in
    seconds, sizes in bytes. A forked child starts at zero.

    Each message makes a span `send <topic>`, a child of the current one, which ends
    with the outcome of the message. Its context is in the headers of the message,
    beside the caller's. A message that has a `traceparent` is left alone. While
    opentelemetry-instrumentation-confluent-kafka is active, which makes such spans, no
    message makes a second one.

    Args:
        meter_provider: None is the global one.
        tracer_provider: None is the global one.
        propagator: puts the context of a span into headers; None is the global one.
        tracing: have producers that are made after the subscription make spans. Others
            do after `producer.middleware.append(listener.trace)`. A span takes many
            times as long as the message itself. To be False where a `client_factory`
            wraps clients by `ConfluentKafkaInstrumentor.instrument_producer`.
        topics: also count messages by topic and error. That takes the events of each
            message, which slow down every send.
        statistics: also report librdkafka's statistics, by broker. Clients that are
            opened afterwards collect them.

    Thread-safe. Without a subscription it reports no counts.

    Raises:
        InvalidArgumentError: an argument is invalid.

    Example:
        >>> from opentelemetry.sdk.metrics import MeterProvider
        >>> from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        >>> from waterdrop_py.listeners import OpenTelemetryListener
        >>> reader = InMemoryMetricReader()
        >>> listener = OpenTelemetryListener(meter_provider=MeterProvider([reader]))
        >>> unsubscribe = monitor.subscribe(listener)
        >>> report = producer.produce_sync("orders", b"first")
        >>> "messaging.client.sent.messages" in reader.get_metrics_data().to_json()
        True
        >>> unsubscribe()
    """

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
        super().__init__(topics=topics, statistics=statistics)
        _check("meter_provider", meter_provider, "get_meter")
        _check("tracer_provider", tracer_provider, "get_tracer")
        _check("propagator", propagator, "inject")
        self._hear("producer.disconnected", self._disconnected)
        if flag("tracing", tracing):
            self._hear("producer.configured", self._equip)
        self._reading = _Reading(())
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._reopens = meter.create_histogram(
            "waterdrop.reopen.duration",
            unit="s",
            description="Time from a use without a client to its first delivery.",
            explicit_bucket_boundaries_advisory=[edge / 1000 for edge in REOPEN_EDGES],
        )
        self._tracing = Tracing(
            trace.get_tracer(_NAME, tracer_provider=tracer_provider),
            propagator,
            meter.create_histogram(
                "messaging.client.operation.duration",
                unit="s",
                description="Time from a send to the outcome of its message.",
                explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
            ),
            by_topic=topics,
        )
        for each in (*ALWAYS, *(OF_STATISTICS if statistics else ())):
            _observe(meter, each, weakref.ref(self))

    def trace(self, message: Message) -> Message:
        """Start a span for a message: a step for `producer.middleware.append`.

        For a producer that was made before the subscription. Returns the message with
        the context of the span in its headers; one that has a context already, as it
        is.

        Example:
            >>> from waterdrop_py.listeners import OpenTelemetryListener
            >>> listener = OpenTelemetryListener()
            >>> producer.middleware.append(listener.trace)
        """
        return self._tracing.step(message, {})

    def subscribed(self) -> None:
        """A subscription has begun."""
        close_at_exit()
        super().subscribed()

    def _equip(self, event: Event) -> None:
        """Have the messages of a new producer make spans."""
        step = partial(self._tracing.step, labels=attributes_of(self._series(event)))
        event["producer"].middleware.append(step)

    def _disconnected(self, event: Event) -> None:
        super()._disconnected(event)
        if event["reopen_ms"] is not None:
            seconds = event["reopen_ms"] / 1000
            self._reopens.record(seconds, attributes_of(self._series(event)))

    def _count_topic(self, event: Event, outcome: Outcome) -> None:
        code = DELIVERED
        if outcome == "failed":
            code = error_type(event["delivery_report"].error)
        self._topics.add(self._series(event), event["topic"], code)

    # -- collections -------------------------------------------------------

    def observe(self, name: str) -> Iterable[Observation]:
        """The values of one instrument; nothing without a subscription.

        The instruments of one collection share a reading, which is at most 1 s old.
        Blocks for at most 1 s while another thread reads.
        """
        if not self._subscriptions:
            return
        if not self._reading.serves(name):
            self._turn.run(self._read)
            self._reading.serves(name)
        for value, attributes in self._reading.values.get(name, ()):
            yield Observation(value, attributes)

    def _read(self) -> None:
        statistics = self._statistics
        self._reading = _Reading(
            read(
                self._figures(),
                self._topics.read() if self._counts_topics else None,
                {} if statistics is None else statistics.read(),
            )
        )

    def reset(self) -> None:
        """Start at zero: this is a forked child."""
        super().reset()
        self._reading = _Reading(())


def _check(name: str, given: object, method: str) -> None:
    """Raise if an argument is neither None nor what it is named after."""
    if given is not None and not callable(getattr(given, method, None)):
        raise InvalidArgumentError(
            f"{name}: must be None or have a method {method}(), got {shown(given)}"
        )


class _Reading:
    """All values of one moment, for each instrument once.

    A collection asks one instrument after another. The first that asks a second time
    belongs to the next collection, which reads anew.
    """

    def __init__(self, values: Iterable[Value]) -> None:
        self.values: dict[str, list[tuple[float, dict[str, str]]]] = {}
        for name, value, attributes in values:
            self.values.setdefault(name, []).append((value, attributes))
        self._read_at = clock.system_now()
        self._asked: set[str] = set()

    def serves(self, name: str) -> bool:
        """Whether these are the values for an instrument that asks now."""
        if name in self._asked or not self.values:
            return False
        self._asked.add(name)
        return clock.system_now() - self._read_at < _FRESH


def _observe(
    meter: Meter, instrument: Instrument, me: weakref.ref[OpenTelemetryListener]
) -> None:
    """Make an instrument that asks the listener, and does not keep it alive."""

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        listener = me()
        return () if listener is None else listener.observe(instrument.name)

    make = getattr(meter, f"create_observable_{instrument.kind}")
    make(
        instrument.name,
        callbacks=[observe],
        unit=instrument.unit,
        description=instrument.description,
    )
