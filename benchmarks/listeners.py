"""Measures what a listener that counts costs `produce_async`: with it, and without."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from datadog import DogStatsd  # type: ignore[attr-defined]
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from benchmarks import clients
from benchmarks.measure import interleave, messages_per_second
from benchmarks.rates import PAYLOAD, UNMEASURED, size
from benchmarks.rows import BARE, OURS, Row, at_least, compared
from waterdrop_py import monitor
from waterdrop_py.listeners import (
    DatadogListener,
    OpenTelemetryListener,
    PrometheusListener,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.setting import Setting
    from waterdrop_py import Producer


class Attached(NamedTuple):
    """A listener that is subscribed while it is measured.

    Attributes:
        make: makes the listener.
        must: the least share of the rate without it; None: it is only told.
        traces: each message makes a span. The spans are not exported.
    """

    make: Callable[[], Any]
    must: float | None
    traces: bool = False


_AGENT: Final = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
"""Stands for an agent of Datadog: what it is told is dropped."""
_AGENT.bind(("127.0.0.1", 0))


def _opentelemetry(*, tracing: bool = False, topics: bool = False) -> Any:
    return OpenTelemetryListener(
        meter_provider=MeterProvider(shutdown_on_exit=False),
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        tracing=tracing,
        topics=topics,
    )


def _datadog(*, topics: bool = False) -> Any:
    statsd = DogStatsd(port=_AGENT.getsockname()[1], disable_telemetry=True)
    return DatadogListener(statsd, topics=topics)


NOTHING_PER_MESSAGE: Final = 0.95
LISTENERS: Final = {
    "PrometheusListener": Attached(
        lambda: PrometheusListener(CollectorRegistry()), NOTHING_PER_MESSAGE
    ),
    "PrometheusListener, statistics": Attached(
        lambda: PrometheusListener(CollectorRegistry(), statistics=True), None
    ),
    "PrometheusListener, topics": Attached(
        lambda: PrometheusListener(CollectorRegistry(), topics=True), None
    ),
    "OpenTelemetryListener, no tracing": Attached(_opentelemetry, NOTHING_PER_MESSAGE),
    "OpenTelemetryListener, topics": Attached(
        partial(_opentelemetry, topics=True), None
    ),
    "OpenTelemetryListener, tracing": Attached(
        partial(_opentelemetry, tracing=True), None, traces=True
    ),
    "DatadogListener": Attached(_datadog, NOTHING_PER_MESSAGE),
    "DatadogListener, topics": Attached(partial(_datadog, topics=True), None),
}


def attached(setting: Setting) -> list[Row]:
    """One thread sends through one producer; the listeners take turns with none."""
    topic = clients.new_topic()
    rounds, count = size(setting)
    with clients.ours(setting.broker) as producer:
        contenders = {BARE: _rate(producer, topic, count, None)}
        for name, each in LISTENERS.items():
            contenders[name] = _rate(producer, topic, count, each)
        interleave(UNMEASURED, contenders)
        measured = interleave(rounds, contenders)
    judged = setting.broker.embedded
    return [
        compared(
            f"produce_async with {name}",
            {OURS: measured[name], BARE: measured[BARE]},
            unit="msg/s",
            n=rounds,
            must=at_least(each.must) if judged and each.must else None,
            note="bare: waterdrop_py without a listener, the same producer",
        )
        for name, each in LISTENERS.items()
    ]


def _rate(
    producer: Producer, topic: str, count: int, listener: Attached | None
) -> Callable[[], float]:
    def measure() -> float:
        with ExitStack() as stack:
            if listener is not None:
                made = listener.make()
                stack.callback(monitor.subscribe(made))
                if listener.traces:
                    steps = producer.middleware.steps
                    steps.append(made.trace)
                    stack.callback(steps.clear)
            # The client is opened with the subscriptions that it is measured with.
            producer.disconnect()
            producer.produce_sync(topic, PAYLOAD)
            return messages_per_second(count, partial(_send, producer, topic, count))

    return measure


def _send(producer: Producer, topic: str, count: int) -> None:
    produce = producer.produce_async
    for _ in range(count):
        produce(topic, PAYLOAD)
    producer.flush(clients.BOUND_SECONDS)
