"""Subscribing to events: order, lifetime, listeners, blinker's signals, cost."""

from __future__ import annotations

import functools
import gc
import operator
import sys
import tracemalloc
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from waterdrop_py.errors import EventNotRegisteredError, InvalidArgumentError
from waterdrop_py.events import EVENTS
from waterdrop_py.monitor import Event, Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

NAME = "producer.disconnected"
PRODUCER = object()


def event(name: str = NAME, **payload: Any) -> Event:
    """An event with that payload."""
    return Event(name, payload, {})


def deliver(monitor: Monitor, name: str = NAME, sender: object = PRODUCER) -> None:
    """Send an event as the library does, with nothing contained."""
    for _, call in monitor.receivers(name, sender):
        call(event(name))


class Named:
    """A subscriber that notes its own name in a list when it is called."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name

    def __call__(self, event: Event) -> None:
        """Be called as a subscriber is."""
        self.log.append(self.name)

    def receive(self, sender: object, event: Event) -> None:
        """Be called as a receiver of a signal is."""
        self.log.append(self.name)


def test_event_is_a_mapping_over_its_payload() -> None:
    """A payload's keys are read from the event itself, and `time` is its duration."""
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
    """`time` is there only where a duration is meant."""
    one = event(reason="idle")
    assert one.duration_ms is None
    assert "time" not in one
    assert list(one) == ["reason"]
    with pytest.raises(KeyError):
        one["time"]


def test_event_repr_shows_keys_only() -> None:
    """A message's bytes do not get into a log by way of an event's repr."""
    shown = repr(event(message=b"private", topic="t"))
    assert shown == f"<Event {NAME}: message, topic>"


def test_events_are_themselves() -> None:
    """Two happenings with the same payload are two, and an event can be in a set."""
    first, second = event(reason="idle"), event(reason="idle")
    assert first != second
    assert len({first, second}) == 2


def test_events_have_no_dict() -> None:
    """An event costs its four slots and nothing else."""
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
    """A method of an object that nobody else holds stays subscribed."""
    monitor, log = Monitor(), list[str]()
    monitor.subscribe(NAME, Named(log, "only").__call__)
    gc.collect()
    deliver(monitor)
    assert log == ["only"]


def test_unsubscribing_ends_one_subscription() -> None:
    """Each subscription is its own: ending one leaves the same function's other one."""
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
    """A subscriber hears no other event."""
    monitor, log = Monitor(), list[Event]()
    monitor.subscribe(NAME, log.append)
    deliver(monitor, "producer.connected")
    assert log == []


def test_on_decorates() -> None:
    """`@monitor.on` subscribes the function and leaves it as it is."""
    monitor, log = Monitor(), list[Event]()

    def fn(event: Event) -> None:
        log.append(event)

    assert monitor.on(NAME)(fn) is fn
    deliver(monitor)
    assert [one.name for one in log] == [NAME]


def test_subscriptions_may_change_during_an_event() -> None:
    """Who unsubscribes meanwhile is not called, who subscribes waits for the next."""
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


class Listener:
    """Hears two events, and has attributes that are none of the monitor's business."""

    on_duty = True

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_producer_connected(self, event: Event) -> None:
        """Note the event."""
        self.heard.append(event.name)

    def on_producer_disconnect_refused(self, event: Event) -> None:
        """Note the event."""
        self.heard.append(event.name)


def test_listener_hears_what_it_has_methods_for() -> None:
    """A listener object is subscribed whole, and unsubscribed whole."""
    monitor, listener = Monitor(), Listener()
    unsubscribe = monitor.subscribe(listener)
    for name in EVENTS:
        deliver(monitor, name)
    expected = ["producer.connected", "producer.disconnect_refused"]
    assert listener.heard == expected
    unsubscribe()
    for name in EVENTS:
        deliver(monitor, name)
    assert listener.heard == expected
    assert not any(monitor.listens(name) for name in EVENTS)


def test_listener_with_a_typo_is_refused_whole() -> None:
    """A method named after no event is an error, and nothing is subscribed."""

    class Typo(Listener):
        def on_producer_disconected(self, event: Event) -> None:
            """Hear nothing, ever."""

    monitor = Monitor()
    with pytest.raises(
        EventNotRegisteredError,
        match=r"Typo.on_producer_disconected .* mean 'on_producer_disconnected'",
    ):
        monitor.subscribe(Typo())
    assert not monitor.listens("producer.connected")


class Unbound:
    """A listener that was not made."""

    def on_producer_closed(self, event: Event) -> None:
        """Hear it."""


class Static:
    """One that need not be made."""

    @staticmethod
    def on_producer_closed(event: Event) -> None:
        """Hear it."""


def test_a_class_is_a_listener_only_as_it_is() -> None:
    """Methods that lack their `self` would hear nothing, and are refused."""
    monitor = Monitor()
    with pytest.raises(InvalidArgumentError, match="subscribe an instance of it"):
        monitor.subscribe(Unbound)
    assert not monitor.listens("producer.closed")
    monitor.subscribe(Static)
    assert monitor.listens("producer.closed")


async def coroutine(_: Event) -> None:
    """Be something that nobody would await."""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (NAME, None),
            "the subscriber of 'producer.disconnected' must be callable, got None",
        ),
        (
            (NAME, 7),
            "the subscriber of 'producer.disconnected' must be callable, got 7",
        ),
        (
            (NAME,),
            "the subscriber of 'producer.disconnected' must be callable, got None",
        ),
        ((NAME, coroutine), "coroutine function"),
        ((7, print), "the name of an event must be a str, got 7"),
        ((print,), "has no method named after an event"),
    ],
)
def test_bad_subscribers_are_refused(arguments: tuple[Any, ...], sentence: str) -> None:
    """What cannot be called with an event is refused at once, by name."""
    monitor = Monitor()
    with pytest.raises(InvalidArgumentError, match=sentence):
        monitor.subscribe(*arguments)
    assert not monitor.listens(NAME)


@pytest.mark.parametrize(
    "ask",
    [
        lambda monitor, name: monitor.subscribe(name, print),
        lambda monitor, name: monitor.on(name),
        lambda monitor, name: monitor.signal(name),
    ],
    ids=["subscribe", "on", "signal"],
)
def test_unknown_names_are_refused(ask: Callable[[Monitor, str], object]) -> None:
    """Every way to an event refuses a name that is none, and suggests the nearest."""
    with pytest.raises(EventNotRegisteredError, match=f"did you mean '{NAME}'"):
        ask(Monitor(), "producer.disconected")


@pytest.mark.parametrize(
    "name", [7, None, b"producer.closed", [], pytest.param(10**5_000, id="huge")]
)
def test_what_is_no_name_at_all(name: Any) -> None:
    """Of another type, or not even hashable: it names no event either."""
    for ask in (Monitor().on, Monitor().signal):
        with pytest.raises(EventNotRegisteredError, match="no event is named"):
            ask(name)


def test_signal_delivers_to_receivers_and_subscribers() -> None:
    """The signal is blinker's: it is sent, connected to and muted as such."""
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
    """A receiver connected to the signal is gone with its object."""
    monitor, log = Monitor(), list[str]()
    receiver = Named(log, "receiver")
    monitor.signal(NAME).connect(receiver.receive)
    assert monitor.listens(NAME)
    del receiver
    gc.collect()
    assert not monitor.listens(NAME)
    deliver(monitor)
    assert log == []


def test_receivers_may_ask_for_one_sender() -> None:
    """A receiver connected for one producer hears nothing of another one."""

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
    """An event arrives also when blinker trips over another thread's connecting.

    The other thread connects for a new sender while blinker, asked for the receivers,
    walks its senders to drop a dead one: the walk raises RuntimeError, once.
    """
    monitor, log = Monitor(), list[str]()
    signal, receiver = monitor.signal(NAME), Named(log, "receiver")
    signal.connect(receiver.receive)
    ask, trips = signal.receivers_for, [RuntimeError("changed size during iteration")]

    def tripping(sender: object) -> Generator[Callable[..., Any], None, None]:
        if trips:
            raise trips.pop()
        yield from ask(sender)

    monkeypatch.setattr(signal, "receivers_for", tripping)
    deliver(monitor)
    assert (log, trips) == (["receiver"], [])


def test_coroutine_receiver_raises() -> None:
    """A coroutine function connected to the signal is an error, not a nothing."""

    async def receive(sender: object, event: Event) -> None:
        raise AssertionError("it ran")

    monitor = Monitor()
    monitor.signal(NAME).connect(receive)
    with pytest.raises(TypeError, match="coroutine"):
        deliver(monitor)


def test_listens_is_about_somebody() -> None:
    """Nobody listens until somebody does, and a signal handed out is nobody."""
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


def test_on_change_sees_every_change() -> None:
    """Whoever keeps the answers of `listens` is told when to ask again."""
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
    """A monitor that nobody subscribed to costs less than 300 bytes."""
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


MANY = [name for name in EVENTS if name.startswith("producer.")]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("producer.*", MANY),
        ("*", list(EVENTS)),
        ("*.produced_sync", ["message.produced_sync", "messages.produced_sync"]),
        ("error.*", ["error.occurred"]),
        ("**", list(EVENTS)),
    ],
)
def test_a_pattern_takes_all_that_match(pattern: str, names: list[str]) -> None:
    """Each event once, whichever it is; and unsubscribing takes all of it back."""
    monitor, log = Monitor(), list[Event]()
    unsubscribe = monitor.subscribe(pattern, log.append)
    for name in EVENTS:
        deliver(monitor, name)
    assert [one.name for one in log] == names
    unsubscribe()
    assert not any(monitor.listens(name) for name in EVENTS)


def test_on_takes_patterns() -> None:
    """`@monitor.on` is `subscribe`."""
    monitor, log = Monitor(), list[Event]()

    @monitor.on("producer.dis*")
    def fn(event: Event) -> None:
        log.append(event)

    deliver(monitor)
    assert len(log) == 1
    with pytest.raises(EventNotRegisteredError):
        monitor.on("nothing.*")


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [("producr.*", "producer.*"), ("transactions.*", "transaction.*"), ("x*", None)],
)
def test_a_pattern_that_matches_nothing(pattern: str, nearest: str | None) -> None:
    """Is an error that names the nearest pattern, and nothing is subscribed."""
    monitor = Monitor()
    with pytest.raises(EventNotRegisteredError, match="no event matches") as caught:
        monitor.subscribe(pattern, print)
    assert nearest is None or f"did you mean {nearest!r}" in str(caught.value)
    assert not any(monitor.listens(name) for name in EVENTS)


def test_a_pattern_is_no_name_of_a_signal() -> None:
    """A signal is one event's."""
    with pytest.raises(EventNotRegisteredError):
        Monitor().signal("producer.*")


@pytest.mark.parametrize(
    ("target", "asks"),
    [
        ("statistics.emitted", True),
        ("statistics.*", True),
        ("*.emitted", True),
        ("*", False),
        ("*t*", False),
    ],
)
def test_only_who_means_statistics_asks_for_them(target: str, *, asks: bool) -> None:
    """A pattern that takes other events too hears them if they come."""
    guarded: list[str] = []
    monitor, log = Monitor(guard=guarded.append), list[Event]()
    monitor.subscribe(target, log.append)
    assert monitor.asks_for("statistics.emitted") is asks
    assert guarded == (["statistics.emitted"] if asks else [])
    deliver(monitor, "statistics.emitted")
    assert len(log) == 1


def test_a_listener_with_a_method_asks_for_statistics() -> None:
    """Unless it says that they are incidental; a receiver of the signal asks too."""

    class Wants:
        def on_statistics_emitted(self, event: Event) -> None:
            """Hear it."""

    class Incidental(Wants):
        incidental = ("statistics.emitted",)

    for listener, asks in ((Wants(), True), (Incidental(), False)):
        monitor = Monitor()
        monitor.subscribe(listener)
        assert monitor.listens("statistics.emitted")
        assert monitor.asks_for("statistics.emitted") is asks
    monitor = Monitor()
    monitor.signal("statistics.emitted").connect(print, weak=False)
    assert monitor.asks_for("statistics.emitted")


class Callable0:
    """An object that is called without the event."""

    def __call__(self) -> None:
        """Be called."""


class Takes2:
    """A class that is made of two arguments, and its methods."""

    def __init__(self, first: object, second: object) -> None: ...

    @classmethod
    def none(cls) -> None:
        """Take nothing."""

    @staticmethod
    def two(first: object, second: object) -> None:
        """Take two."""


def none() -> None:
    """Take nothing."""


def keyword(*, event: Event) -> None:
    """Take it by keyword only."""


def more(event: Event, *, password: str) -> None:
    """Need something else."""


def secret(first: str, second: str, password: str = "hunter2") -> None:
    """Have a default that is nobody's business."""


def name_of(fn: object) -> str:
    """A name that is the same in each of pytest-xdist's processes; a repr has an id."""
    return getattr(fn, "__qualname__", type(fn).__name__)


UNFIT: list[tuple[Any, str | None]] = [
    (none, "()"),
    (keyword, "(*, event)"),
    (more, "(event, *, password)"),
    (secret, "(first, second, password=...)"),
    (lambda: None, "()"),
    (lambda a, b: None, "(a, b)"),
    (Callable0(), "()"),
    (Takes2, "(first, second)"),
    (Takes2.none, "()"),
    (Takes2.two, "(first, second)"),
    (partial(more, password="x"), None),
    (partial(none), "()"),
    (partial(Takes2.two, 1, 2), "()"),
    ([].clear, "()"),
]


@pytest.mark.parametrize(("fn", "shown"), UNFIT, ids=[name_of(fn) for fn, _ in UNFIT])
def test_what_cannot_take_an_event_is_refused(fn: Any, shown: str | None) -> None:
    """As it is subscribed, with its parameters; not at the first event."""
    monitor = Monitor()
    if shown is None:
        monitor.subscribe(NAME, fn)
        return
    with pytest.raises(InvalidArgumentError, match="one positional argument") as caught:
        monitor.subscribe(NAME, fn)
    assert str(caught.value).endswith(f"it takes {shown}")
    assert not monitor.listens(NAME)
    with pytest.raises(InvalidArgumentError, match="one positional argument"):
        monitor.subscribe(SimpleNamespace(on_producer_disconnected=fn))


def injecting(event: Event, *rest: object, name: str = "x") -> None:
    """Take more than is given."""


@functools.wraps(secret)
def wrapped(event: Event) -> None:
    """Call another function, with arguments of its own."""


@pytest.mark.parametrize(
    "fn",
    [
        injecting,
        wrapped,
        print,
        list[Event]().append,
        repr,
        dict,
        Mock(),
        Named([], "n"),
        Named([], "n").__call__,
        lambda event=None: None,
        lambda *events: None,
        partial(Takes2.two, 1),
        operator.itemgetter("producer_id"),
    ],
    ids=name_of,
)
def test_whatever_can_take_an_event_is_taken(fn: Any) -> None:
    """Also what only a call would tell of."""
    monitor = Monitor()
    monitor.subscribe(NAME, fn)()
    monitor.subscribe(SimpleNamespace(on_producer_disconnected=fn))()
