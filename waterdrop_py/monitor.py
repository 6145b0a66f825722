"""Subscriptions to events: `Monitor`, built on blinker's signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import AsyncGeneratorType, CoroutineType
from typing import Any, TypeAlias, TypeVar, overload

from blinker import NamedSignal

from waterdrop_py._settings.callables import STARTS, subscriber_of
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import EVENTS, Event, matching, methods_of, require_event
from waterdrop_py.typing import Unsubscribe

__all__ = ["Event", "Monitor", "Subscriber", "Subscribing", "monitor"]

Subscriber: TypeAlias = Callable[[Event], object]
_F = TypeVar("_F", bound=Subscriber)
# The subscribers of one event, each under its own token, in the order of subscribing.
_Subscriptions: TypeAlias = dict["_Token", Subscriber]
_STATISTICS = "statistics.emitted"


class _Token:
    """One subscription to one event.

    `explicit` is whether the event itself was asked for, rather than a pattern or a
    listener that takes it incidentally.
    """

    __slots__ = ("explicit",)

    def __init__(self, *, explicit: bool) -> None:
        self.explicit = explicit


class Subscribing:
    """The base class of listeners that are told when a subscription begins and ends."""

    def subscribed(self) -> None:
        """A subscription of this listener has begun."""

    def unsubscribed(self) -> None:
        """A subscription of this listener has ended; once for each `subscribed`."""


class Monitor:
    """The events of one producer, or of all of them.

    Subscribers are held strongly and called in the order in which they subscribed. They
    run on the thread where the event happened: a thread of the library, or one that is
    inside a verb. The library holds no lock then, so a subscriber may call anything.

    All methods are thread-safe and never block. They may be called from subscribers,
    finalizers and signal handlers.
    """

    __slots__ = (
        "__weakref__",
        "_guard",
        "_on_change",
        "_parent",
        "_signals",
        "_subscriptions",
    )

    def __init__(
        self,
        on_change: Callable[[], object] | None = None,
        guard: Callable[[str], object] | None = None,
        parent: Monitor | None = None,
    ) -> None:
        """Make a monitor of a producer (users get theirs from `producer.monitor`).

        Args:
            on_change: called without arguments when the result of `listens` may have
                changed. Not called when a weak receiver of a signal is collected,
                because blinker does not report that.
            guard: called with the name of an event before a function is subscribed to
                it; what it raises refuses the subscription.
            parent: the monitor of the producer's pool, which hears each event too. Its
                changes are not told to `on_change`.
        """
        # Signal handlers and finalizers may run at any point. So each change of shared
        # state is one operation on a dict, and subscribers are called off a copy.
        self._on_change = on_change
        self._guard = guard
        self._parent = parent
        self._subscriptions: dict[str, _Subscriptions] = {}
        self._signals: dict[str, NamedSignal] = {}

    @overload
    def subscribe(self, name: str, fn: Subscriber, /) -> Unsubscribe: ...

    @overload
    def subscribe(self, listener: object, /) -> Unsubscribe: ...

    def subscribe(
        self, target: str | object, fn: Subscriber | None = None, /
    ) -> Unsubscribe:
        """Call `fn(event)` for each event of that name; return how to end it.

        A `*` in the name stands for any text: `"producer.*"`, `"*"`. A pattern that
        matches several events gets statistics if they come, but does not make
        librdkafka collect them.

        `subscribe(listener)` subscribes every method of the object that is named after
        an event, such as `on_producer_disconnected`. A function that is subscribed
        twice is called twice. An unsubscribed function is not called again, not even
        for an event that is being delivered. A call that another thread has begun goes
        on. A listener whose `subscribed()` raises is not subscribed.

        Never blocks. Thread-safe.

        Args:
            target: the name of an event, a pattern, or a listener.
            fn: called with the event; not with a listener.

        Raises:
            EventNotRegisteredError: no event has the name, or the method's name, or
                matches the pattern.
            StatisticsNotEnabledError: the event is `statistics.emitted`, and the
                producer's open client was made without statistics.
            InvalidArgumentError: `fn` cannot be called with an event, or the listener
                has no method named after an event. Nothing is subscribed.

        Example:
            >>> def told(event):
            ...     print(event.name, event["reason"])
            >>> unsubscribe = producer.monitor.subscribe("producer.disconnected", told)
            >>> producer.connect().disconnect()
            producer.disconnected requested
            True
            >>> unsubscribe()
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
            wanted = methods_of(target)
            incidental = getattr(target, "incidental", ())
        else:
            raise InvalidArgumentError(
                f"the name of an event must be a str, got {shown(target)}"
            )
        subscribed = [
            (name, self._add(name, each, explicit=name not in incidental))
            for name, each in wanted
        ]
        self._changed()
        if not isinstance(target, Subscribing):
            return partial(self._remove, subscribed)
        try:
            target.subscribed()
        except BaseException:
            self._remove(subscribed)
            raise
        return partial(self._end, subscribed, target)

    def on(self, name: str) -> Callable[[_F], _F]:
        """Subscribe the decorated function, which is returned unchanged.

        Never blocks, is thread-safe, and raises what `subscribe` raises.

        Args:
            name: an event or a pattern.

        Example:
            >>> @producer.monitor.on("error.occurred")
            ... def failed(event):
            ...     print(event["type"])
        """
        matching(name)

        def decorate(fn: _F) -> _F:
            self.subscribe(name, fn)
            return fn

        return decorate

    def signal(self, name: str) -> NamedSignal:
        """The blinker signal of that event; always the same object.

        Receivers are called after the subscribers, with the producer (None if it was
        garbage-collected) and `event=`. blinker's rules apply to them: they are held
        weakly by default, called in no particular order, and may be filtered by sender.
        The signal's first receiver stands for the subscribers of this monitor. So
        sending the signal by hand, or muting it, includes them.

        Never blocks. Thread-safe.

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
            # Two threads may each have made one; both use the first that was stored.
            signal = self._signals.setdefault(name, signal)
        return signal

    def listens(self, name: str) -> bool:
        """Whether the event has a subscriber or a receiver; False if it is unknown."""
        if self._subscriptions.get(name):
            return True
        signal = self._signals.get(name)
        if signal is not None and len(signal.receivers) > 1:
            return True
        return self._parent is not None and self._parent.listens(name)

    def asks_for(self, name: str) -> bool:
        """Whether the event has an explicit subscriber or a receiver.

        Patterns and listeners that take the event incidentally do not count.
        """
        subscriptions = self._subscriptions.get(name, {})
        if any(token.explicit for token in list(subscriptions)):
            return True
        signal = self._signals.get(name)
        if signal is not None and len(signal.receivers) > 1:
            return True
        return self._parent is not None and self._parent.asks_for(name)

    def receivers(
        self, name: str, sender: object
    ) -> Iterator[tuple[Callable[..., object], Subscriber]]:
        """The functions to call for that event, each with how to call it.

        For the one place that sends events. A function that is subscribed during the
        iteration is left out, and so is one that is unsubscribed.
        """
        yield from self._own_receivers(name, sender)
        if self._parent is not None:
            yield from self._parent.receivers(name, sender)

    def _own_receivers(
        self, name: str, sender: object
    ) -> Iterator[tuple[Callable[..., object], Subscriber]]:
        signal = self._signals.get(name)
        if signal is not None and signal.is_muted:
            return
        subscriptions = self._subscriptions.get(name, {})
        for token, fn in dict(subscriptions).items():
            if token in subscriptions:
                yield fn, fn
        if signal is not None:
            for receiver in _receivers_of(signal, sender):
                if not isinstance(receiver, _FanOut):
                    yield receiver, partial(_send, receiver, sender)

    def _add(self, name: str, fn: Subscriber, *, explicit: bool) -> _Token:
        token = _Token(explicit=explicit)
        self._subscriptions.setdefault(name, {})[token] = fn
        return token

    def _remove(self, subscribed: Iterable[tuple[str, _Token]]) -> None:
        for name, token in subscribed:
            self._subscriptions[name].pop(token, None)
        self._changed()

    def _end(self, subscribed: list[tuple[str, _Token]], listener: Subscribing) -> None:
        self._remove(subscribed)
        if subscribed:
            subscribed.clear()  # it may be called again
            listener.unsubscribed()

    def _changed(self, _signal: object = None, /, **_: object) -> None:
        if self._on_change is not None:
            self._on_change()


class _FanOut:
    """The receiver of a signal that stands for the subscribers of its event."""

    __slots__ = ("__weakref__", "_subscriptions")

    def __init__(self, subscriptions: _Subscriptions) -> None:
        self._subscriptions = subscriptions

    def __call__(self, _sender: object, /, *, event: Event) -> None:
        for fn in list(self._subscriptions.values()):
            fn(event)


def _receivers_of(signal: NamedSignal, sender: object) -> list[Callable[..., object]]:
    """The live receivers of a signal, also while other threads change it.

    1. blinker finds a dead receiver, forgets it, and walks its table of senders.
    2. Another thread connects a receiver for a new sender during the walk.
    3. The walk raises `RuntimeError`. The next try finds one dead receiver less.

    (test_connecting_meanwhile_does_not_stop_an_event)
    """
    for _ in range(len(signal.receivers) + 1):
        with suppress(RuntimeError):
            return list(signal.receivers_for(sender))
    return []


def _send(receiver: Callable[..., object], sender: object, event: Event) -> None:
    result: Any = receiver(sender, event=event)
    if isinstance(result, CoroutineType):
        result.close()  # or Python warns that it was never awaited
    if isinstance(result, CoroutineType | AsyncGeneratorType):
        raise TypeError(f"the receiver of an event must be a plain function; {STARTS}")


def only_counts(subscriber: object) -> bool:
    """Whether the subscriber is a metrics listener, or a method of one.

    The class of such a listener has the attribute `only_counts = True`. An error that
    only such subscribers receive is logged.
    """
    owner = getattr(subscriber, "__self__", subscriber)
    return getattr(owner, "only_counts", False) is True


_on_shared_change: list[Callable[[], object]] = []


def on_shared_change(function: Callable[[], object]) -> None:
    """Call `function` whenever the subscriptions to the shared monitor change."""
    _on_shared_change.append(function)


def _shared_changed() -> None:
    for function in _on_shared_change:
        function()


monitor: Monitor = Monitor(on_change=_shared_changed)
"""Receives every event of every producer of this process."""
