"""The metrics of `OpenTelemetryListener`, as a reader of the SDK collects them."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from tests.doubles import BOUND, Bench
from tests.unit.listeners.collected import Collected
from waterdrop_py import Message, Producer, monitor
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import EVENTS
from waterdrop_py.listeners import OpenTelemetryListener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SENT = "messaging.client.sent.messages"
SENDING = {"messaging.system": "kafka", "messaging.operation.name": "send"}
OF_PRODUCERS = {
    SENT: "{message}",
    "waterdrop.client.count": "{client}",
    "waterdrop.client.opened": "{client}",
    "waterdrop.client.connected.time": "s",
    "waterdrop.client.disconnected.time": "s",
    "waterdrop.saved.connection.time": "s",
    "waterdrop.saved.thread.time": "s",
    "waterdrop.saved.descriptor.time": "s",
    "waterdrop.message.in_flight": "{message}",
}


@pytest.fixture
def collect() -> Iterator[Callable[..., Collected]]:
    """A function that subscribes a listener for the test."""
    made: list[Collected] = []

    def build(**options: Any) -> Collected:
        made.append(Collected(**options))
        return made[-1]

    yield build
    for each in made:
        each.unsubscribe()


def test_each_figure_has_its_name_and_unit(
    collect: Callable[..., Collected], make: Callable[..., Producer], name: str
) -> None:
    """Also of a producer that was made before the subscription."""
    producer = make()
    producer.produce_sync("t", b"x")
    collected = collect()
    for metric, unit in OF_PRODUCERS.items():
        assert collected.metrics()[metric].unit == unit
        assert len(collected.values(metric, name)) == 1
    assert collected.values(SENT, name) == [(SENDING, 1)]
    assert collected.value("waterdrop.client.count", name) == 1
    assert collected.value("waterdrop.client.opened", name) == 1
    assert collected.values("waterdrop.client.closed", name) == []
    producer.close(BOUND)
    assert collected.value("waterdrop.client.count", name) == 0
    assert collected.values("waterdrop.client.closed", name) == [
        ({"waterdrop.close.reason": "close"}, 1)
    ]
    assert not collected.metrics()["waterdrop.client.count"].data.is_monotonic
    assert collected.metrics()["waterdrop.client.opened"].data.is_monotonic


def test_failures_are_told_apart(
    bench: Bench,
    collect: Callable[..., Collected],
    make: Callable[..., Producer],
    name: str,
) -> None:
    """Without `topics` the code is not known: `_OTHER`."""
    bench.auto = False
    producer, collected = make(), collect()
    handles = [producer.produce_async("t", b"x") for _ in range(5)]
    bench.client.ack(2)
    assert [handle.result(BOUND).offset for handle in handles[:2]]
    assert collected.value("waterdrop.message.in_flight", name) == 3
    bench.client.fail(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - librdkafka's name
    assert [handle.exception(BOUND) for handle in handles[2:]]
    assert collected.values(SENT, name) == [
        (SENDING, 2),
        ({**SENDING, "error.type": "_OTHER"}, 3),
    ]


def test_counts_by_topic(
    bench: Bench,
    collect: Callable[..., Collected],
    make: Callable[..., Producer],
    name: str,
) -> None:
    """With `topics` each has its topic, and a failure its code."""
    bench.auto = False
    collected, producer = collect(topics=True), make()
    handles = producer.produce_many_async([Message("a", b"x")] * 2)
    handles += producer.produce_many_async([Message("b", b"x")] * 3)
    bench.client.ack(4)
    bench.client.fail(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - librdkafka's name
    assert [handle.exception(BOUND) for handle in handles]
    a, b = ({"messaging.destination.name": topic, **SENDING} for topic in "ab")
    assert collected.values(SENT, name) == [
        (a, 2),
        (b, 2),
        ({**b, "error.type": "msg_timed_out"}, 1),
    ]
    [(_, other)] = [
        (attributes, point)
        for attributes, point in collected.points(
            "messaging.client.operation.duration", name
        )
        if "error.type" in attributes
    ]
    assert other.count == 1


def test_without_topics_no_event_comes_per_message(
    collect: Callable[..., Collected],
) -> None:
    """So a message costs what it did."""
    before = {each for each in EVENTS if monitor.listens(each)}
    collect(tracing=False)
    heard = {each for each in EVENTS if monitor.listens(each)} - before
    assert heard <= {
        "error.occurred",
        "producer.disconnect_refused",
        "producer.disconnected",
    }


def test_producers_add_up(
    collect: Callable[..., Collected], make: Callable[..., Producer], name: str
) -> None:
    """Two with one id have one series; those without an id have one for all. Counters
    do not fall as producers are closed and collected."""
    collected = collect()
    nameless = len(collected.values(SENT, None))
    assert nameless <= 2
    before = sum(value for _, value in collected.values(SENT, None))
    for options in ({}, {}, {"id": None}, {"id": None}):
        producer = make(**options)
        producer.produce_sync("t", b"x")
        producer.close(BOUND)
        del producer
    gc.collect()
    assert collected.value(SENT, name) == 2
    assert sum(value for _, value in collected.values(SENT, None)) >= before + 2
    assert len(collected.values(SENT, None)) <= 2


def test_a_collection_is_of_one_moment(
    collect: Callable[..., Collected],
    make: Callable[..., Producer],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All instruments of one collection share a reading; the next one has its own."""
    collected, producer = collect(statistics=True), make()
    reads: list[None] = []
    read = OpenTelemetryListener._figures  # noqa: SLF001 - what is counted

    def counted(listener: OpenTelemetryListener) -> Any:
        reads.append(None)
        return read(listener)

    monkeypatch.setattr(OpenTelemetryListener, "_figures", counted)
    for number in range(1, 4):
        producer.produce_sync("t", b"x")
        assert collected.value(SENT, name) == number
        assert len(reads) == number


def test_two_readers(
    make: Callable[..., Producer], name: str, collect: Callable[..., Collected]
) -> None:
    """Each collection sees what has happened before it."""
    collected, producer = collect(readers=2), make()
    for number in range(1, 4):
        producer.produce_sync("t", b"x")
        for reader in collected.readers:
            collected.reader = reader
            assert collected.value(SENT, name) == number


def test_a_collection_opens_nothing(
    collect: Callable[..., Collected], make: Callable[..., Producer], name: str
) -> None:
    """It is no activity either."""
    producer, collected = make(), collect()
    collected.metrics()
    assert producer.stats().opens == 0
    producer.produce_sync("t", b"x")
    before = producer.idle_ms
    collected.metrics()
    after = producer.idle_ms
    assert before is not None
    assert after is not None
    assert after >= before


def test_nothing_after_the_subscription(
    collect: Callable[..., Collected], make: Callable[..., Producer], name: str
) -> None:
    """A listener that is unsubscribed tells nothing, and is collected."""
    producer, collected = make(), collect()
    producer.produce_sync("t", b"x")
    assert collected.value(SENT, name) == 1
    collected.unsubscribe()
    assert SENT not in collected.metrics()
    listener = weakref.ref(collected.listener)
    collected.unsubscribe = lambda: None
    del collected.listener
    producer.close(BOUND)
    gc.collect()
    assert listener() is None


def test_the_duration_of_a_message(
    collect: Callable[..., Collected], make: Callable[..., Producer], name: str
) -> None:
    """It is recorded with its span, in the buckets of the conventions."""
    collected = collect()
    producer = make()
    producer.produce_many_sync([Message("t", b"x")] * 3)
    [(attributes, point)] = collected.points(
        "messaging.client.operation.duration", name
    )
    assert attributes == SENDING
    assert point.count == 3
    assert 0 < point.sum < 3 * BOUND
    assert point.explicit_bounds[:3] == (0.005, 0.01, 0.025)
    assert point.explicit_bounds[-1] == 10
    assert point.exemplars
    assert collected.spans.all_ended_once
    assert len(collected.spans.done) == 3


def test_a_forked_child_starts_at_zero(
    collect: Callable[..., Collected], make: Callable[..., Producer], name: str
) -> None:
    """What the fork's hook calls in the child forgets what was read."""
    collected, producer = collect(topics=True), make()
    producer.produce_sync("t", b"x")
    assert collected.value(SENT, name) == 1
    collected.listener.reset()
    assert collected.values(SENT, name) == []


@pytest.mark.parametrize("argument", ["tracing", "topics", "statistics"])
def test_arguments_are_bools(argument: str) -> None:
    """Anything else is refused, with the name of the argument."""
    given: Any = {argument: "yes"}
    with pytest.raises(InvalidArgumentError, match=f"{argument}: must be a bool"):
        OpenTelemetryListener(**given)


@pytest.mark.parametrize(
    "argument", ["meter_provider", "tracer_provider", "propagator"]
)
def test_arguments_are_what_they_are_named_after(argument: str) -> None:
    """A wrong one is refused at once, and not as the first message is sent."""
    given: Any = {argument: "b3"}
    with pytest.raises(InvalidArgumentError, match=f"{argument}: must be None or have"):
        OpenTelemetryListener(**given)
