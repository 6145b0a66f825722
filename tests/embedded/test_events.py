"""Who hears what, in which order, and that hearing changes nothing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, EventLog, eventually
from waterdrop_py import Message, monitor
from waterdrop_py.errors import (
    EventNotRegisteredError,
    ReentrantCallError,
    StatisticsNotEnabledError,
)
from waterdrop_py.listeners import LoggingListener, StructlogListener

if TYPE_CHECKING:
    from tests.embedded.support import MakeProducer
    from waterdrop_py import DeliveryHandle, Event, Producer
    from waterdrop_py.testing import EmbeddedCluster


def test_a_whole_life_in_order(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """From construction to close, by the module's monitor, none left out."""
    producer = make_producer()
    producer.produce_sync(topic, b"x")
    producer.disconnect()
    producer.produce_async(topic, b"y").result(BOUND)
    producer.close()
    assert log.names("producer.") == [
        "producer.created",
        "producer.configured",
        "producer.connecting",
        "producer.connected",
        "producer.disconnecting",
        "producer.disconnected",
        "producer.connecting",
        "producer.connected",
        "producer.closing",
        "producer.disconnecting",
        "producer.disconnected",
        "producer.closed",
    ]
    assert {event["producer_id"] for event in log.events} == {producer.id}
    reasons = [event["reason"] for event in log.all("producer.disconnected")]
    assert reasons == ["requested", "close"]
    assert [e["reopened"] for e in log.all("producer.connected")] == [False, True]
    assert log.wait("producer.closed").duration_ms is not None


def test_message_events_carry_the_message(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Topic, partition, offset, label, message and report, as far as known."""
    producer = make_producer(tags={"team": "a"})
    producer.produce_sync(topic, b"sync", partition=1, label="s")
    producer.produce_async(topic, b"async", partition=1, label="a").result(BOUND)
    for name, label, offset in [
        ("message.produced_sync", "s", 0),
        ("message.acknowledged", "s", 0),
        ("message.produced_async", "a", None),
    ]:
        event = log.wait(name)
        assert (event["topic"], event["partition"]) == (topic, 1)
        assert event["label"] == event["message"].label == label
        assert event.get("offset") == offset
        assert dict(event.tags) == {"team": "a"}
    assert log.wait("message.produced_sync")["delivery_report"].offset == 0
    assert log.wait("message.produced_sync")["time"] > 0
    assert log.wait("message.acknowledged", 2)["label"] == "a"
    assert log.wait("message.acknowledged")["delivery_report"].error is None


def test_batch_events_carry_all_messages(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """One event for a batch, and one acknowledgement for each message."""
    producer = make_producer()
    batch = [Message(topic, b"%d" % each, label=each) for each in range(4)]
    producer.produce_many_sync(batch)
    producer.produce_many_async(batch)
    assert producer.flush(BOUND) == 0
    for name in ("messages.produced_sync", "messages.produced_async"):
        (event,) = log.all(name)
        assert [message.label for message in event["messages"]] == [0, 1, 2, 3]
    labels = [event["label"] for event in log.all("message.acknowledged")]
    assert sorted(labels) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert not log.all("message.produced_sync")
    assert not log.all("message.produced_async")


def test_a_producers_monitor_hears_that_producer_only(
    make_producer: MakeProducer, topic: str
) -> None:
    """And the module's hears all of them; unsubscribing ends it."""
    first, second = make_producer(), make_producer()
    own, everything = EventLog(first.monitor), EventLog(monitor)
    first.produce_sync(topic, b"x")
    second.produce_sync(topic, b"x")
    assert {event["producer_id"] for event in own.events} == {first.id}
    heard = {event["producer_id"] for event in everything.events}
    assert heard >= {first.id, second.id}  # and those that other tests have left
    own.stop()
    everything.stop()
    numbers = len(own.events), len(everything.events)
    first.produce_sync(topic, b"x")
    assert (len(own.events), len(everything.events)) == numbers


def test_listeners_decorators_and_signals(
    make_producer: MakeProducer, topic: str
) -> None:
    """Methods named after events, a decorated function, and the blinker signal."""
    producer = make_producer()
    heard: list[tuple[str, Any]] = []

    class Listener:
        def on_producer_connected(self, event: Event) -> None:
            heard.append(("listener", event.name))

    @producer.monitor.on("producer.connected")
    def decorated(event: Event) -> None:
        heard.append(("decorated", event.name))

    def receiver(sender: Producer, *, event: Event) -> None:
        heard.append(("signal", sender is producer and event.name))

    producer.monitor.subscribe(Listener())  # held strongly
    producer.monitor.signal("producer.connected").connect(receiver)
    producer.connect()
    name = "producer.connected"
    assert sorted(heard) == [("decorated", name), ("listener", name), ("signal", name)]
    with pytest.raises(EventNotRegisteredError, match=r"producer\.connected"):
        producer.monitor.subscribe("producer.conected", decorated)


@pytest.mark.parametrize(
    "name", ["message.acknowledged", "producer.connected", "producer.disconnected"]
)
def test_a_raising_subscriber_changes_nothing(
    make_producer: MakeProducer, topic: str, log: EventLog, name: str
) -> None:
    """It is reported once, others still hear, and the message arrives."""
    producer = make_producer()
    heard: list[Event] = []

    @producer.monitor.on(name)
    def broken(_: Event) -> None:
        raise ValueError("mine")

    producer.monitor.subscribe(name, heard.append)
    assert producer.produce_sync(topic, b"x").error is None
    assert producer.disconnect()
    assert len(heard) == 1
    (event,) = log.errors("subscriber.error")
    assert (str(event["error"]), event["event"]) == ("mine", name)


def test_a_subscriber_may_send(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Each report sends one more, up to ten, from within the report."""
    producer = make_producer()

    @producer.monitor.on("message.acknowledged")
    def again(event: Event) -> None:
        if event["label"] < 9:
            producer.produce_async(topic, b"x", label=event["label"] + 1)

    producer.produce_async(topic, b"x", label=0)
    assert eventually(lambda: producer.stats().acknowledged == 10)
    assert len(cluster.read(topic)) == 10


@pytest.mark.timed
def test_a_slow_callback_delays_no_other_producer(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Another's report comes meanwhile, and `poller.slow` names the culprit."""
    slow, quick = make_producer(id="slow"), make_producer(id="quick")
    quick.produce_sync(topic, b"warm")
    inside, leave = threading.Event(), threading.Event()

    def dawdle(_: object) -> None:
        inside.set()
        leave.wait(BOUND)

    slow.produce_async(topic, b"x").add_done_callback(dawdle)
    assert inside.wait(BOUND)
    started = time.monotonic()
    handle = quick.produce_async(topic, b"y")
    assert eventually(handle.done, within=3)
    assert time.monotonic() - started < 1
    assert log.wait_error("poller.slow")["producer_id"] == "slow"
    leave.set()
    assert slow.produce_sync(topic, b"z").error is None


def test_statistics_come_only_when_somebody_listens(
    make_producer: MakeProducer, topic: str
) -> None:
    """As the client is built; decoded, and of that producer."""
    interval = {"statistics.interval.ms": 50}
    listened = make_producer(kafka=interval)
    heard: list[Event] = []
    listened.monitor.subscribe("statistics.emitted", heard.append)
    listened.produce_sync(topic, b"x")
    assert eventually(lambda: len(heard) >= 2)
    assert heard[0]["producer_id"] == listened.id
    assert heard[0]["statistics"]["type"] == "producer"
    assert heard[0]["statistics"]["client_id"]
    opened = len(heard)
    listened.disconnect()
    listened.produce_sync(topic, b"y")
    assert eventually(lambda: len(heard) > opened)


def test_statistics_are_off_by_default(make_producer: MakeProducer, topic: str) -> None:
    """The client's own setting is 0 without a listener, 5000 with one."""
    seen: list[dict[str, Any]] = []

    def factory(conf: dict[str, Any]) -> Any:
        from confluent_kafka import Producer as Native

        seen.append(dict(conf))
        return Native(conf)

    make_producer(client_factory=factory).connect()
    listened = make_producer(client_factory=factory)
    listened.monitor.subscribe("statistics.emitted", print)
    listened.connect()
    assert [conf["statistics.interval.ms"] for conf in seen] == [0, 5_000]


@pytest.mark.parametrize(
    ("pattern", "interval"), [("*", 0), ("*.*", 0), ("statistics.*", 5_000)]
)
def test_a_pattern_turns_no_statistics_on(
    make_producer: MakeProducer, pattern: str, interval: int
) -> None:
    """Unless it names nothing else; and neither does a listener that logs."""
    seen: list[int] = []

    def factory(conf: dict[str, Any]) -> Any:
        from confluent_kafka import Producer as Native

        seen.append(conf["statistics.interval.ms"])
        return Native(conf)

    producer = make_producer(client_factory=factory)
    producer.monitor.subscribe(pattern, lambda _: None)
    producer.connect()
    for listener in (LoggingListener(messages=True), StructlogListener()):
        logged = make_producer(client_factory=factory)
        logged.monitor.subscribe(listener)
        logged.connect()
    assert seen == [interval, 0, 0]


def test_a_pattern_hears_statistics_that_are_on(
    make_producer: MakeProducer, topic: str
) -> None:
    """By the user's own property, or by another subscriber."""
    producer = make_producer(kafka={"statistics.interval.ms": 50})
    names: list[str] = []
    producer.monitor.subscribe("*", lambda event: names.append(event.name))
    producer.produce_sync(topic, b"x")
    assert eventually(lambda: "statistics.emitted" in names)
    assert names.count("message.produced_sync") == 1
    assert names.count("message.acknowledged") == 1


def test_a_late_subscriber_to_statistics_is_told_so(
    make_producer: MakeProducer, topic: str
) -> None:
    """An explicit subscription raises, unless there is no client that is without."""
    producer = make_producer()
    producer.produce_sync(topic, b"x")
    heard: list[Event] = []
    for name in ("statistics.emitted", "statistics.*"):
        with pytest.raises(StatisticsNotEnabledError):
            producer.monitor.subscribe(name, heard.append)
    producer.monitor.subscribe("*", heard.append)()
    assert producer.disconnect()
    producer.monitor.subscribe("statistics.emitted", heard.append)()
    assert heard == []


@pytest.mark.parametrize(
    "name",
    [
        "producer.connecting",
        "producer.connected",
        "producer.disconnecting",
        "producer.disconnected",
        "message.acknowledged",
    ],
)
def test_a_message_from_any_event_arrives(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, name: str
) -> None:
    """A subscriber's `produce_async` never waits for the step that it is told of."""
    producer = make_producer()
    handles: list[DeliveryHandle] = []

    def send_once(_: Event) -> None:
        unsubscribe()
        handles.append(producer.produce_async(topic, b"from the event"))

    unsubscribe = producer.monitor.subscribe(name, send_once)
    producer.produce_sync(topic, b"x")
    producer.disconnect()
    assert eventually(lambda: bool(handles))
    assert handles[0].result(BOUND).error is None
    assert len(cluster.read(topic)) == 2


def test_verbs_that_wait_are_refused_inside_a_callback(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """ReentrantCallError, and nothing is sent: the report could not come."""
    producer = make_producer()
    refused: list[BaseException] = []

    def callback(_: DeliveryHandle) -> None:
        pending = producer.produce_async(topic, b"pending")
        for call in (
            lambda: producer.produce_sync(topic, b"never"),
            lambda: producer.produce_many_sync([{"topic": topic, "payload": b"n"}]),
            pending.result,
            producer.flush,
        ):
            try:
                call()
            except ReentrantCallError as error:
                refused.append(error)

    producer.produce_async(topic, b"x").add_done_callback(callback)
    assert eventually(lambda: len(refused) == 4)
    assert producer.flush(BOUND) == 0
    values = sorted(message.value() or b"" for message in cluster.read(topic))
    assert values == [b"pending", b"x"]
