"""Monitor: delivery of events, blinker's signals, and what a monitor costs."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.monitors import NAME, PRODUCER, Named, deliver, event
from waterdrop_py.monitor import Event, Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def test_event_is_a_mapping_over_its_payload() -> None:
    """An event has the keys of its payload, and `time` is its duration."""
    one = Event(NAME, {"producer_id": "p", "reason": "idle"}, {"team": "a"}, 1.5)
    assert one["producer_id"] == "p"
    assert one["time"] == one.duration_ms == 1.5
    assert one.get("nothing") is None
    assert "time" in one
    assert "nothing" not in one
    assert list(one.keys()) == ["producer_id", "reason", "time"]
    assert dict(one) == {"producer_id": "p", "reason": "idle", "time": 1.5}
    assert len(one) == 3
    assert one.tags == {"team": "a"}


def test_event_without_duration_has_no_time() -> None:
    """`time` is missing if the event is not timed."""
    one = event(reason="idle")
    assert one.duration_ms is None
    assert "time" not in one
    assert list(one) == ["reason"]
    with pytest.raises(KeyError):
        one["time"]


def test_event_repr_shows_keys_only() -> None:
    """The repr of an event does not show the bytes of a message."""
    shown = repr(event(message=b"private", topic="t"))
    assert shown == f"<Event {NAME}: message, topic>"


def test_events_are_compared_by_identity() -> None:
    """Events with equal payloads are different, and an event can be in a set."""
    first, second = event(reason="idle"), event(reason="idle")
    assert first != second
    assert len({first, second}) == 2


def test_events_have_no_dict() -> None:
    """An event has no dict, only its four slots."""
    assert not hasattr(event(), "__dict__")


def test_subscribers_are_called_in_order() -> None:
    """Subscribers are called in the order of subscribing, receivers after them."""
    monitor, log = Monitor(), list[str]()
    names = [f"s{n}" for n in range(20)]
    last = Named(log, "receiver")
    for name in names[:10]:
        monitor.subscribe(NAME, Named(log, name))
    monitor.signal(NAME).connect(last.receive)
    for name in names[10:]:
        monitor.subscribe(NAME, Named(log, name))
    deliver(monitor)
    assert log == [*names, "receiver"]


def test_subscribers_are_held_strongly() -> None:
    """A method stays subscribed, although nothing else refers to its object."""
    monitor, log = Monitor(), list[str]()
    monitor.subscribe(NAME, Named(log, "only").__call__)
    gc.collect()
    deliver(monitor)
    assert log == ["only"]


def test_unsubscribing_ends_one_subscription() -> None:
    """Ending one of two subscriptions of the same function leaves the other one."""
    monitor, log = Monitor(), list[Event]()
    first = monitor.subscribe(NAME, log.append)
    monitor.subscribe(NAME, log.append)
    deliver(monitor)
    assert len(log) == 2
    first()
    first()
    deliver(monitor)
    assert len(log) == 3
    assert monitor.listens(NAME)


def test_only_the_named_event_arrives() -> None:
    """A subscriber gets no other event."""
    monitor, log = Monitor(), list[Event]()
    monitor.subscribe(NAME, log.append)
    deliver(monitor, "producer.connected")
    assert log == []


def test_on_decorates() -> None:
    """`@monitor.on` subscribes the function and returns it unchanged."""
    monitor, log = Monitor(), list[Event]()

    def fn(event: Event) -> None:
        log.append(event)

    assert monitor.on(NAME)(fn) is fn
    deliver(monitor)
    assert [one.name for one in log] == [NAME]


def test_subscriptions_may_change_during_an_event() -> None:
    """During an event, an unsubscribed function is not called, and a new one waits."""
    monitor, log = Monitor(), list[str]()

    def first(_: Event) -> None:
        log.append("first")
        unsubscribe_second()
        unsubscribe_first()
        monitor.subscribe(NAME, Named(log, "third"))

    unsubscribe_first = monitor.subscribe(NAME, first)
    unsubscribe_second = monitor.subscribe(NAME, Named(log, "second"))
    deliver(monitor)
    assert log == ["first"]
    deliver(monitor)
    assert log == ["first", "third"]


def test_signal_delivers_to_receivers_and_subscribers() -> None:
    """The signal of an event can be sent, connected to and muted, as in blinker."""
    monitor, log = Monitor(), list[str]()
    signal = monitor.signal(NAME)
    assert signal is monitor.signal(NAME)
    monitor.subscribe(NAME, Named(log, "subscriber"))
    receiver = Named(log, "receiver")
    signal.connect(receiver.receive)
    signal.send(PRODUCER, event=event())
    assert sorted(log) == ["receiver", "subscriber"]
    with signal.muted():
        deliver(monitor)
    assert len(log) == 2
    deliver(monitor)
    assert log[2:] == ["subscriber", "receiver"]


def test_receivers_are_weak_as_in_blinker() -> None:
    """A receiver of a signal is held weakly."""
    monitor, log = Monitor(), list[str]()
    receiver = Named(log, "receiver")
    monitor.signal(NAME).connect(receiver.receive)
    assert monitor.listens(NAME)
    del receiver
    gc.collect()
    assert not monitor.listens(NAME)
    deliver(monitor)
    assert log == []


def test_receivers_may_be_for_one_sender() -> None:
    """A receiver for one producer gets no event of another one."""

    class Producer:
        pass

    mine, other, log = Producer(), Producer(), list[str]()
    monitor, receiver = Monitor(), Named(log, "receiver")
    monitor.signal(NAME).connect(receiver.receive, sender=mine)
    deliver(monitor, sender=other)
    deliver(monitor, sender=None)
    assert log == []
    deliver(monitor, sender=mine)
    assert log == ["receiver"]


def test_connecting_meanwhile_does_not_stop_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An event is delivered while another thread connects a receiver.

    The other thread connects for a new sender while blinker walks its senders to drop
    a dead receiver. The walk raises RuntimeError once.
    """
    monitor, log = Monitor(), list[str]()
    signal, receiver = monitor.signal(NAME), Named(log, "receiver")
    signal.connect(receiver.receive)
    receivers_for = signal.receivers_for
    errors = [RuntimeError("changed size during iteration")]

    def raising_once(sender: object) -> Generator[Callable[..., Any], None, None]:
        if errors:
            raise errors.pop()
        yield from receivers_for(sender)

    monkeypatch.setattr(signal, "receivers_for", raising_once)
    deliver(monitor)
    assert (log, errors) == (["receiver"], [])


def test_coroutine_receiver_raises() -> None:
    """A coroutine function as a receiver is an error."""

    async def receive(sender: object, event: Event) -> None:
        raise AssertionError("it ran")

    monitor = Monitor()
    monitor.signal(NAME).connect(receive)
    with pytest.raises(TypeError, match="coroutine"):
        deliver(monitor)


def test_listens_is_true_with_a_subscriber_or_receiver() -> None:
    """`listens` is False without a subscriber or receiver; a signal is neither."""
    monitor = Monitor()
    assert not monitor.listens(NAME)
    signal = monitor.signal(NAME)
    assert not monitor.listens(NAME)
    unsubscribe = monitor.subscribe(NAME, print)
    assert monitor.listens(NAME)
    assert not monitor.listens("producer.connected")
    unsubscribe()
    assert not monitor.listens(NAME)
    signal.connect(print, weak=False)
    assert monitor.listens(NAME)
    signal.disconnect(print)
    assert not monitor.listens(NAME)
    assert not monitor.listens("no.such.event")


def test_on_change_is_called_for_every_change() -> None:
    """`on_change` is called whenever the result of `listens` may have changed."""
    answers: list[bool] = []
    monitor = Monitor(on_change=lambda: answers.append(monitor.listens(NAME)))
    unsubscribe = monitor.subscribe(NAME, print)
    unsubscribe()
    signal = monitor.signal(NAME)
    assert answers == [True, False]
    signal.connect(print, weak=False)
    signal.disconnect(print)
    with signal.connected_to(print):
        assert answers == [True, False, True, False, True]
    assert answers == [True, False, True, False, True, False]


@pytest.mark.own_process
def test_silent_monitor_is_small() -> None:
    """A monitor without subscribers takes less than 300 bytes."""
    keep = [Monitor() for _ in range(10)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        keep.extend(Monitor() for _ in range(1000))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    growth = (after - before - sys.getsizeof(keep)) / 1000
    assert growth < 300
    assert len(keep) == 1010
