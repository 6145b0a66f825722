"""Emitter: which monitors get an event, and what a raising subscriber changes."""

from __future__ import annotations

import gc
import logging
import threading
from collections import UserDict
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py._engine.emitter import Emitter
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py.events import EVENTS
from waterdrop_py.monitor import Event, Monitor
from waterdrop_py.testing.recording import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "producer.disconnected"
ERROR = "error.occurred"


class Owner:
    """Stands for a producer: an object that can be held weakly."""


class Bed:
    """An emitter with its two monitors and its owner."""

    def __init__(self) -> None:
        self.owner: Owner | None = Owner()
        self.own = Monitor()
        self.shared = Monitor()
        self.emitter = Emitter(self.owner, "p1", {"team": "a"}, self.own, self.shared)


@pytest.fixture
def bed() -> Bed:
    """A new emitter, and a log that has counted nothing."""
    LOG.reset()
    return Bed()


class Broken:
    """A subscriber that raises, and counts how often."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error or ValueError("broken")
        self.calls = 0

    def __call__(self, event: Event) -> None:
        """Raise."""
        self.calls += 1
        raise self.error


class Untouchable(UserDict[str, Any]):
    """A payload that raises when it is read."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the payload was read")


def test_event_carries_producer_tags_and_duration(bed: Bed) -> None:
    """Every event has the id and the tags of its producer."""
    with record(bed.own) as events:
        bed.emitter.emit(NAME, {"reason": "idle"}, duration_ms=1.5)
    [event] = events
    assert event.name == NAME
    assert event.payload == {"producer_id": "p1", "reason": "idle"}
    assert event.tags == {"team": "a"}
    assert event["time"] == 1.5


def test_event_carries_what_metrics_go_by(bed: Bed) -> None:
    """An event has the id that the user gave, and stands for a client where one is
    meant; a pool's producers have the pool's."""
    client = object()
    with record(bed.own) as events:
        bed.emitter.emit(NAME, client=client)
        bed.emitter.given_id = "orders"
        bed.emitter.error("poller.error", ValueError("broken"))
    assert [(event.given_id, event.client) for event in events] == [
        (None, client),
        ("orders", None),
    ]


def test_own_monitor_first_then_the_shared_one(bed: Bed) -> None:
    """The same event reaches the producer's monitor first, then the shared one."""
    heard: list[tuple[str, Event]] = []
    bed.shared.subscribe(NAME, lambda event: heard.append(("shared", event)))
    bed.own.subscribe(NAME, lambda event: heard.append(("own", event)))
    bed.emitter.emit(NAME)
    assert [where for where, _ in heard] == ["own", "shared"]
    assert heard[0][1] is heard[1][1]


def test_shared_monitor_gets_every_event(bed: Bed) -> None:
    """The shared monitor gets all events of all producers."""
    other = Emitter(bed, "p2", {}, Monitor(), bed.shared)
    with record(bed.shared) as events:
        for name in EVENTS:
            bed.emitter.emit(name)
            other.emit(name)
    assert [(event.name, event["producer_id"]) for event in events] == [
        (name, producer) for name in EVENTS for producer in ("p1", "p2")
    ]


def test_nothing_is_built_without_a_subscriber(bed: Bed) -> None:
    """Without a subscriber the payload is not read."""
    bed.own.subscribe("producer.connected", print)
    assert not bed.emitter.listens(NAME)
    bed.emitter.emit(NAME, Untouchable(reason="idle"))
    bed.own.subscribe(NAME, print)
    assert bed.emitter.listens(NAME)
    with pytest.raises(AssertionError, match="the payload was read"):
        bed.emitter.emit(NAME, Untouchable(reason="idle"))


def test_sender_is_the_producer_while_it_lives(bed: Bed) -> None:
    """The sender of a signal is the producer, which the emitter holds weakly."""
    senders: list[object] = []

    def receive(sender: object, event: Event) -> None:
        senders.append(sender)

    bed.own.signal(NAME).connect(receive)
    bed.emitter.emit(NAME)
    assert senders == [bed.owner]
    senders.clear()
    bed.owner = None
    gc.collect()
    bed.emitter.emit(NAME)
    assert senders == [None]


def test_raising_subscriber_is_reported_once_and_changes_nothing_else(bed: Bed) -> None:
    """Other subscribers get the event, and one error names the one that raised."""
    broken = Broken()
    bed.own.subscribe(NAME, broken)
    with record(bed.own) as own, record(bed.shared) as shared:
        bed.emitter.emit(NAME, {"reason": "idle"})
    for events in (own, shared):
        assert [event.name for event in events] == [NAME, ERROR]
        error = events[1]
        assert error["type"] == "subscriber.error"
        assert error["error"] is broken.error
        assert error["event"] == NAME
        assert error["subscriber"] == f"{__name__}.Broken"
        assert error["producer_id"] == "p1"
    assert broken.calls == 1


def test_raising_receiver_of_a_signal_is_contained_too(bed: Bed) -> None:
    """After a receiver that raises the next one is called, unlike in blinker."""

    def receive(sender: object, event: Event) -> None:
        raise ValueError

    def receive_too(sender: object, event: Event) -> None:
        heard.append(event)

    heard: list[Event] = []
    bed.own.signal(NAME).connect(receive)
    bed.own.signal(NAME).connect(receive_too)
    with record(bed.shared) as events:
        bed.emitter.emit(NAME)
    assert len(heard) == 1
    assert [event.name for event in events] == [NAME, ERROR]
    assert str(events[1]["subscriber"]).endswith("<locals>.receive")


def test_each_raise_is_one_report(bed: Bed) -> None:
    """Two subscribers that raise cause two errors, in their order."""
    first, second = Broken(), Broken(KeyError("second"))
    bed.own.subscribe(NAME, first)
    bed.shared.subscribe(NAME, second)
    with record(bed.own) as events:
        bed.emitter.emit(NAME)
    assert [event.get("error") for event in events[1:]] == [first.error, second.error]


def test_raising_subscriber_is_logged_without_an_error_subscriber(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a subscriber of errors the log has the error with its traceback."""
    broken = Broken()
    bed.own.subscribe(NAME, broken)
    bed.emitter.emit(NAME)
    [line] = caplog.records
    assert line.exc_info is not None
    assert line.exc_info[1] is broken.error


def test_raising_error_subscriber_is_reported_to_the_others_only(bed: Bed) -> None:
    """A subscriber of errors that raises does not get its own error."""
    broken = Broken()
    bed.own.subscribe(ERROR, broken)
    cause = OSError("cause")
    with record(bed.shared) as events:
        bed.emitter.error("librdkafka.error", cause)
    assert broken.calls == 1
    assert [(event["type"], event["error"]) for event in events] == [
        ("librdkafka.error", cause),
        ("subscriber.error", broken.error),
    ]
    assert events[1]["event"] == ERROR


def test_raising_only_error_subscriber_is_logged_once(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that its only subscriber cannot handle is logged once."""
    broken = Broken()
    bed.own.subscribe(ERROR, broken)
    bed.emitter.error("librdkafka.error", OSError("cause"))
    assert broken.calls == 1
    [line] = caplog.records
    assert (line.name, line.levelno) == ("waterdrop_py", logging.ERROR)
    assert line.exc_info is not None
    assert line.exc_info[1] is broken.error
    assert "error.occurred: librdkafka.error: OSError: cause" in line.getMessage()


@pytest.mark.parametrize("count", [2, 5])
def test_error_subscribers_that_all_raise_come_to_an_end(
    bed: Bed, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """Reporting ends, however many subscribers of errors raise.

    One line a second is logged, and the others are counted.
    """
    broken = [Broken(ValueError(n)) for n in range(count)]
    for subscriber in broken:
        bed.own.subscribe(ERROR, subscriber)
    bed.own.subscribe(NAME, Broken())
    bed.emitter.emit(NAME)
    LOG.flush()
    first, second = caplog.records
    assert first.exc_info is not None
    assert first.exc_info[1] is broken[0].error
    # Each round leaves out one subscriber, and all others raise again.
    more = count * (count + 1) // 2 - 2
    assert second.getMessage().endswith(f"; and {more} more")
    assert all(subscriber.calls <= count for subscriber in broken)


def test_interrupts_go_through(bed: Bed) -> None:
    """A KeyboardInterrupt in a subscriber reaches the caller."""
    bed.own.subscribe(NAME, Broken(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        bed.emitter.emit(NAME)


def test_other_threads_contain_every_exception(bed: Bed) -> None:
    """On a thread other than the main one nothing is raised: it runs no handlers."""
    bed.own.subscribe(NAME, Broken(SystemExit(3)))
    raised: list[BaseException] = []

    def emit() -> None:
        try:
            bed.emitter.emit(NAME)
        except BaseException as error:  # noqa: BLE001 - the test judges it
            raised.append(error)

    with record(bed.shared) as events:
        thread = threading.Thread(target=emit)
        thread.start()
        thread.join(10)
    assert raised == []
    assert [event.name for event in events] == [NAME, ERROR]


def test_error_is_error_occurred(bed: Bed) -> None:
    """`error` sends error.occurred with the type, the exception and further keys."""
    cause = OSError("cause")
    with record(bed.own) as events:
        bed.emitter.error("callbacks.stats_cb.error", cause, attempt=2)
    assert events[0].name == ERROR
    assert events[0].payload == {
        "producer_id": "p1",
        "type": "callbacks.stats_cb.error",
        "error": cause,
        "attempt": 2,
    }


def test_subscribers_may_emit(bed: Bed) -> None:
    """An event that a subscriber emits is delivered before the first one goes on."""
    bed.own.subscribe(NAME, lambda _: bed.emitter.emit("producer.closed"))
    with record(bed.own) as events:
        bed.emitter.emit(NAME)
    assert [event.name for event in events] == ["producer.closed", NAME]


def test_recording_ends_with_its_block(bed: Bed) -> None:
    """After `record` the list stays, and nothing is subscribed."""
    with record(bed.own) as events:
        bed.emitter.emit(NAME)
    bed.emitter.emit(NAME)
    assert len(events) == 1
    assert not any(bed.own.listens(name) for name in EVENTS)


def test_payload_may_be_any_mapping(bed: Bed) -> None:
    """The caller's mapping is copied, not kept."""
    payload: Mapping[str, Any] = {"reason": "idle"}
    with record(bed.own) as events:
        bed.emitter.emit(NAME, payload)
    assert events[0].payload is not payload
    assert payload == {"reason": "idle"}
