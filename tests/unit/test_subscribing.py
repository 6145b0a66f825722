"""Monitor: what can be subscribed, listener objects, patterns, and refusals."""

from __future__ import annotations

import functools
import operator
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from tests.unit.monitors import NAME, Named, deliver
from waterdrop_py.errors import EventNotRegisteredError, InvalidArgumentError
from waterdrop_py.events import EVENTS
from waterdrop_py.monitor import Event, Monitor, Subscribing

if TYPE_CHECKING:
    from collections.abc import Callable


class Listener:
    """A listener object with two methods, and an attribute that is not callable."""

    on_duty = True

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_producer_connected(self, event: Event) -> None:
        """Keep the name of the event."""
        self.events.append(event.name)

    def on_producer_disconnect_refused(self, event: Event) -> None:
        """Keep the name of the event."""
        self.events.append(event.name)


def test_listener_gets_events_it_has_methods_for() -> None:
    """All methods of a listener object are subscribed and unsubscribed together."""
    monitor, listener = Monitor(), Listener()
    unsubscribe = monitor.subscribe(listener)
    for name in EVENTS:
        deliver(monitor, name)
    expected = ["producer.connected", "producer.disconnect_refused"]
    assert listener.events == expected
    unsubscribe()
    for name in EVENTS:
        deliver(monitor, name)
    assert listener.events == expected
    assert not any(monitor.listens(name) for name in EVENTS)


def test_a_listener_that_refuses_its_subscription_has_none() -> None:
    """What its `subscribed()` raises comes out, and it hears nothing."""

    class Refusing(Listener, Subscribing):
        def subscribed(self) -> None:
            raise ValueError("taken")

        def unsubscribed(self) -> None:
            raise AssertionError("it was never subscribed")

    monitor, listener = Monitor(), Refusing()
    with pytest.raises(ValueError, match="taken"):
        monitor.subscribe(listener)
    deliver(monitor, "producer.connected")
    assert listener.events == []
    assert not any(monitor.listens(name) for name in EVENTS)


def test_listener_with_a_typo_is_refused_whole() -> None:
    """A method `on_...` of an unknown event is an error, and nothing is subscribed."""

    class Typo(Listener):
        def on_producer_disconected(self, event: Event) -> None:
            """A method that is never called."""

    monitor = Monitor()
    with pytest.raises(
        EventNotRegisteredError,
        match=r"Typo.on_producer_disconected .* mean 'on_producer_disconnected'",
    ):
        monitor.subscribe(Typo())
    assert not monitor.listens("producer.connected")


class Unbound:
    """A listener whose method needs an instance."""

    def on_producer_closed(self, event: Event) -> None:
        """Get the event."""


class Static:
    """A listener whose method needs no instance."""

    @staticmethod
    def on_producer_closed(event: Event) -> None:
        """Get the event."""


def test_a_class_with_methods_of_instances_is_refused() -> None:
    """A class is a listener only if its methods need no `self`."""
    monitor = Monitor()
    with pytest.raises(InvalidArgumentError, match="subscribe an instance of it"):
        monitor.subscribe(Unbound)
    assert not monitor.listens("producer.closed")
    monitor.subscribe(Static)
    assert monitor.listens("producer.closed")


async def coroutine(_: Event) -> None:
    """A subscriber that would have to be awaited."""


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
    """A subscriber that cannot be called with an event is refused at once."""
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
    """`subscribe`, `on` and `signal` refuse an unknown name and suggest the nearest."""
    with pytest.raises(EventNotRegisteredError, match=f"did you mean '{NAME}'"):
        ask(Monitor(), "producer.disconected")


@pytest.mark.parametrize(
    "name", [7, None, b"producer.closed", [], pytest.param(10**5_000, id="huge")]
)
def test_names_of_other_types_are_refused(name: Any) -> None:
    """A name of another type, hashable or not, is refused."""
    for ask in (Monitor().on, Monitor().signal):
        with pytest.raises(EventNotRegisteredError, match="no event is named"):
            ask(name)


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
    """A pattern gets each matching event once, until it is unsubscribed."""
    monitor, log = Monitor(), list[Event]()
    unsubscribe = monitor.subscribe(pattern, log.append)
    for name in EVENTS:
        deliver(monitor, name)
    assert [one.name for one in log] == names
    unsubscribe()
    assert not any(monitor.listens(name) for name in EVENTS)


def test_on_takes_patterns() -> None:
    """`@monitor.on` takes patterns like `subscribe`."""
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
    """A pattern without matches is an error that suggests the nearest pattern."""
    monitor = Monitor()
    with pytest.raises(EventNotRegisteredError, match="no event matches") as caught:
        monitor.subscribe(pattern, print)
    assert nearest is None or f"did you mean {nearest!r}" in str(caught.value)
    assert not any(monitor.listens(name) for name in EVENTS)


def test_a_signal_has_no_pattern() -> None:
    """`signal` refuses a pattern, because a signal is of one event."""
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
def test_only_explicit_patterns_ask_for_statistics(target: str, *, asks: bool) -> None:
    """A pattern for several events gets statistics only if they come."""
    guarded: list[str] = []
    monitor, log = Monitor(guard=guarded.append), list[Event]()
    monitor.subscribe(target, log.append)
    assert monitor.asks_for("statistics.emitted") is asks
    assert guarded == (["statistics.emitted"] if asks else [])
    deliver(monitor, "statistics.emitted")
    assert len(log) == 1


def test_a_listener_with_a_method_asks_for_statistics() -> None:
    """A listener asks for statistics unless they are incidental; receivers ask too."""

    class Wants:
        def on_statistics_emitted(self, event: Event) -> None:
            """Get the event."""

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
    """An object that takes no argument."""

    def __call__(self) -> None:
        """Take nothing."""


class Takes2:
    """A class whose constructor takes two arguments."""

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
    """Take the event by keyword only."""


def more(event: Event, *, password: str) -> None:
    """Need another argument."""


def secret(first: str, second: str, password: str = "hunter2") -> None:
    """Have a default that is a secret."""


def name_of(fn: object) -> str:
    """The same name in each process of pytest-xdist; a repr contains an address."""
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
    """The refusal comes when it is subscribed, and shows the parameters."""
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
    """Take optional arguments too."""


@functools.wraps(secret)
def wrapped(event: Event) -> None:
    """Wrap a function that takes other arguments."""


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
def test_what_can_take_an_event_is_accepted(fn: Any) -> None:
    """A callable that takes an event, or has no signature, is accepted."""
    monitor = Monitor()
    monitor.subscribe(NAME, fn)()
    monitor.subscribe(SimpleNamespace(on_producer_disconnected=fn))()


class Told(Subscribing, Listener):
    """A listener that is told of its subscriptions."""

    def subscribed(self) -> None:
        """A subscription has begun."""
        self.events.append("begun")

    def unsubscribed(self) -> None:
        """A subscription has ended."""
        self.events.append("ended")


def test_a_listener_is_told_of_its_subscriptions() -> None:
    """Each subscription begins and ends once, however often it is ended; what it hears
    lies between the two."""
    monitor, listener = Monitor(), Told()
    unsubscribe = monitor.subscribe(listener)
    deliver(monitor, "producer.connected")
    unsubscribe()
    unsubscribe()
    deliver(monitor, "producer.connected")
    assert listener.events == ["begun", "producer.connected", "ended"]
