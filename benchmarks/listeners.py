"""Measures what a listener that counts costs `produce_async`: with it, and without."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import CollectorRegistry

from benchmarks import clients
from benchmarks.measure import interleave, messages_per_second
from benchmarks.rates import PAYLOAD, UNMEASURED, size
from benchmarks.rows import BARE, OURS, Row, at_least, compared
from waterdrop_py import monitor
from waterdrop_py.listeners import PrometheusListener

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.setting import Setting
    from waterdrop_py import Producer


class Attached(NamedTuple):
    """A listener that is subscribed while it is measured.

    Attributes:
        make: makes the listener.
        must: the least share of the rate without it; None: it is only told.
    """

    make: Callable[[], object]
    must: float | None


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
                stack.callback(monitor.subscribe(listener.make()))
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
