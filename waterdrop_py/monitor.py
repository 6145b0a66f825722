"""Where events are subscribed to: `Monitor`, over blinker's signals, and `Event`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from inspect import getattr_static, iscoroutinefunction, isfunction
from typing import Any, TypeAlias, TypeVar, overload

from blinker import NamedSignal

from waterdrop_py._settings.callables import subscriber_of
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import EventNotRegisteredError, InvalidArgumentError
from waterdrop_py.events import (
    EVENTS,
    did_you_mean,
    listener_method,
    matching,
    require_event,
)
from waterdrop_py.typing import Unsubscribe

_METHODS = {listener_method(name): name for name in EVENTS}


class Event(Mapping[str, Any]):
    """One thing that happened: a read-only mapping over its payload.

    Attributes:
        name: one of `events.EVENTS`.
        payload: what `events.EVENTS` names, and `producer_id`.
        tags: the producer's tags.
        duration_ms: how long it took, or None where no duration is meant. Also
            `event["time"]`, which is a `KeyError` where it is None.
    """

    __slots__ = ("duration_ms", "name", "payload", "tags")

    def __init__(
        self,
        name: str,
        payload: dict[str, Any],
        tags: Mapping[str, str],
        duration_ms: float | None = None,
    ) -> None:
        self.name = name
        self.payload = payload
        self.tags = tags
        self.duration_ms = duration_ms

    def __getitem__(self, key: str) -> Any:
        if key == "time" and self.duration_ms is not None:
            return self.duration_ms
        return self.payload[key]

    def __iter__(self) -> Iterator[str]:
        yield from self.payload
        if self.duration_ms is not None:
            yield "time"

    def __len__(self) -> int:
        return len(self.payload) + (self.duration_ms is not None)

    # Two events are two happenings, whatever their payloads; and the keys alone are
    # shown, because the values hold the users' messages.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Event {self.name}: {', '.join(self)}>"


Subscriber: TypeAlias = Callable[[Event], object]
_F = TypeVar("_F", bound=Subscriber)
# Of one event: what is subscribed, by a token of its own, in the order of subscribing.
_Subscriptions: TypeAlias = dict["_Token", Subscriber]
_STATISTICS = "statistics.emitted"


class _Token:
    """One subscription to one event. `asks`: for this very event, not for many."""

    __slots__ = ("asks",)

    def __init__(self, *, asks: bool) -> None:
        self.asks = asks


class Monitor:
    """The events of one producer, or of all of them.

    Subscribers are held strongly and called in the order in which they subscribed,
    on the thread where the event happened: a thread of the library, or one inside a
    verb. No lock of the library is held then, so a subscriber may call anything.

    All methods are thread-safe, never block, and may be called from a subscriber, a
    finalizer and a signal handler: what changes shared state is always a single
    operation on a dict, and subscribers are called off a copy.

    `on_change`, if given, is called without arguments whenever `listens` may answer
    otherwise than before, except when a weak receiver of a signal is collected:
    blinker tells nobody of that.
    """

    __slots__ = (
        "__weakref__",
        "_guard",
        "_on_change",
        "_signals",
        "_subscriptions",
    )

    def __init__(
        self,
        on_change: Callable[[], object] | None = None,
        guard: Callable[[str], object] | None = None,
    ) -> None:
        self._on_change = on_change
        self._guard = guard
        self._subscriptions: dict[str, _Subscriptions] = {}
        self._signals: dict[str, NamedSignal] = {}

    @overload
    def subscribe(self, name: str, fn: Subscriber, /) -> Unsubscribe: ...

    @overload
    def subscribe(self, listener: object, /) -> Unsubscribe: ...

    def subscribe(
        self, target: str | object, fn: Subscriber | None = None, /
    ) -> Unsubscribe:
        """Call `fn(event)` at each event of that name; returns what ends it.

        A `*` in the name stands for any text: `"producer.*"`, `"*"`. Such a pattern
        takes statistics as they come, but does not have them collected; unless it
        matches nothing else.

        `subscribe(listener)` subscribes every method of the object that is named
        after an event, such as `on_producer_disconnected`. The same function
        subscribed twice is called twice. Once it is unsubscribed it is not called
        again, also within the event that is being delivered; a call that another
        thread has begun goes on.

        Raises:
            EventNotRegisteredError: no event has the name, or the method's name, or
                matches the pattern.
            StatisticsNotEnabledError: the event is `statistics.emitted`, and the
                producer's open client was built while nobody listened to it.
            InvalidArgumentError: `fn` cannot be called with an event, or the listener
                has no method named after an event. Nothing is subscribed.
        """
        incidental: Iterable[str] = ()
        if isinstance(target, str):
            names = matching(target)
            each = subscriber_of(fn, target)
            wanted = [(name, each) for name in names]
            if len(names) > 1:
                incidental = (_STATISTICS,)
            elif self._guard is not None:
                self._guard(names[0])
        elif fn is None:
            wanted = _methods_of(target)
            incidental = getattr(target, "incidental", ())
        else:
            raise InvalidArgumentError(
                f"the name of an event must be a str, got {shown(target)}"
            )
        subscribed = [
            (name, self._add(name, each, asks=name not in incidental))
            for name, each in wanted
        ]
        self._changed()
        return partial(self._remove, subscribed)

    def on(self, name: str) -> Callable[[_F], _F]:
        """Subscribe the decorated function to that event or pattern; it is returned
        unchanged.

        Raises what `subscribe` raises.
        """
        matching(name)

        def decorate(fn: _F) -> _F:
            self.subscribe(name, fn)
            return fn

        return decorate

    def signal(self, name: str) -> NamedSignal:
        """The blinker signal of that event, always the same one.

        Receivers that are connected to it are called with the producer (None when it
        was garbage-collected) and `event=`, after the subscribers, under blinker's
        own rules: weak by default, in no particular order, filtered by sender if
        asked to. Its first receiver stands for the subscribers of this monitor, so
        that sending the signal by hand and muting it mean them too.

        Raises:
            EventNotRegisteredError: no event has that name.
        """
        require_event(name)
        signal = self._signals.get(name)
        if signal is None:
            signal = NamedSignal(name, EVENTS[name].summary)
            fan_out = _FanOut(self._subscriptions.setdefault(name, {}))
            signal.connect(fan_out, weak=False)
            signal.receiver_connected.connect(self._changed, weak=False)
            signal.receiver_disconnected.connect(self._changed, weak=False)
            # Two threads may each have built one: the first one is everybody's.
            signal = self._signals.setdefault(name, signal)
        return signal

    def listens(self, name: str) -> bool:
        """Whether anybody would hear that event; False for an unknown name."""
        if self._subscriptions.get(name):
            return True
        signal = self._signals.get(name)
        return signal is not None and len(signal.receivers) > 1

    def asks_for(self, name: str) -> bool:
        """Whether anybody wants that event to be, beyond hearing it if it comes."""
        subscriptions = self._subscriptions.get(name, {})
        if any(token.asks for token in subscriptions.copy()):
            return True
        signal = self._signals.get(name)
        return signal is not None and len(signal.receivers) > 1

    def receivers(
        self, name: str, sender: object
    ) -> Iterator[tuple[Callable[..., object], Subscriber]]:
        """Whoever hears that event: its function, and how to call it with the event.

        For the one place that sends events. Someone who subscribes meanwhile waits
        for the next event; someone who unsubscribes meanwhile is left out.
        """
        signal = self._signals.get(name)
        if signal is not None and signal.is_muted:
            return
        subscriptions = self._subscriptions.get(name, {})
        for token, fn in subscriptions.copy().items():
            if token in subscriptions:
                yield fn, fn
        if signal is not None:
            for receiver in _receivers_of(signal, sender):
                if not isinstance(receiver, _FanOut):
                    yield receiver, partial(_send, receiver, sender)

    def _add(self, name: str, fn: Subscriber, *, asks: bool) -> _Token:
        token = _Token(asks=asks)
        self._subscriptions.setdefault(name, {})[token] = fn
        return token

    def _remove(self, subscribed: Iterable[tuple[str, _Token]]) -> None:
        for name, token in subscribed:
            self._subscriptions[name].pop(token, None)
        self._changed()

    def _changed(self, _signal: object = None, /, **_: object) -> None:
        if self._on_change is not None:
            self._on_change()


class _FanOut:
    """A signal's receiver that stands for the subscribers of its event."""

    __slots__ = ("__weakref__", "_subscriptions")

    def __init__(self, subscriptions: _Subscriptions) -> None:
        self._subscriptions = subscriptions

    def __call__(self, _sender: object, /, *, event: Event) -> None:
        for fn in self._subscriptions.copy().values():
            fn(event)


def _receivers_of(signal: NamedSignal, sender: object) -> list[Callable[..., object]]:
    """The receivers of a signal that live, whatever other threads do to it meanwhile.

    blinker drops a dead receiver by walking its table of senders, and raises
    `RuntimeError` when another thread connects for a new sender during the walk. It
    forgets the dead one before it walks, so that none can stop it twice.
    """
    for _ in range(len(signal.receivers) + 1):
        with suppress(RuntimeError):
            return list(signal.receivers_for(sender))
    return []


def _send(receiver: Callable[..., object], sender: object, event: Event) -> None:
    if iscoroutinefunction(receiver):
        raise TypeError("a coroutine function cannot receive an event")
    receiver(sender, event=event)


def only_counts(subscriber: object) -> bool:
    """Whether it is a metrics listener, or a method of one.

    Such a class says so with an attribute `only_counts = True`. Errors that nothing
    else hears are logged.
    """
    owner = getattr(subscriber, "__self__", subscriber)
    return getattr(owner, "only_counts", False) is True


def _methods_of(listener: object) -> list[tuple[str, Subscriber]]:
    """The events that a listener object has a method for, and the methods."""
    found = []
    for method in dir(listener):
        if not method.startswith("on_"):
            continue
        name = _METHODS.get(method)
        if name is not None and _is_unbound(listener, method):
            raise InvalidArgumentError(
                f"{listener!r} is a class, whose {method} lacks its self; subscribe an "
                "instance of it"
            )
        if name is not None:
            found.append((name, subscriber_of(getattr(listener, method), name)))
        elif callable(getattr(listener, method)):
            raise EventNotRegisteredError(
                f"{type(listener).__qualname__}.{method} is named after no event"
                f"{did_you_mean(method, _METHODS)}"
            )
    if not found:
        raise InvalidArgumentError(
            f"{shown(listener)} has no method named after an event, such as "
            "on_producer_connected; to subscribe a function: subscribe(name, fn)"
        )
    return found


def _is_unbound(listener: object, method: str) -> bool:
    """Whether it is a method of the class itself, which would lack its `self`."""
    if not isinstance(listener, type):
        return False
    return isfunction(getattr_static(listener, method))


_on_shared_change: list[Callable[[], object]] = []


def on_shared_change(function: Callable[[], object]) -> None:
    """Call `function` whenever the subscriptions to the shared monitor change."""
    _on_shared_change.append(function)


def _shared_changed() -> None:
    for function in _on_shared_change:
        function()


monitor = Monitor(on_change=_shared_changed)
"""Receives every event of every producer of this process."""
