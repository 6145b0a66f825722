"""`Emitter`: the one place that sends events."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py.events import Event
from waterdrop_py.monitor import only_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from waterdrop_py.monitor import Monitor

_ERROR = "error.occurred"
_SUBSCRIBER = "subscriber.error"


class _Failure(NamedTuple):
    """A subscriber that raised: while hearing which event, and what."""

    subscriber: Callable[..., object]
    event: Event
    error: BaseException


class Emitter:
    """Sends the events of one producer to its own monitor, then to the shared one.

    Thread-safe. Subscribers run inside `emit`, so callers hold no lock meanwhile. It
    refers to the producer weakly; once that is collected, the sender is None. Callers
    that build a payload ask first: `if emitter.listens(name): emitter.emit(name, ...)`.
    """

    __slots__ = ("_producer", "_shared", "given_id", "monitor", "producer_id", "tags")

    subject = "producer"
    """What it speaks for; its name is `producer_id`."""

    def __init__(
        self,
        producer: object,
        producer_id: str,
        tags: Mapping[str, str],
        own: Monitor,
        shared: Monitor,
    ) -> None:
        self._producer = weakref.ref(producer)
        self.producer_id = producer_id
        self.given_id: str | None = None  # as `Event.given_id`
        self.tags = tags
        self.monitor = own
        self._shared = shared

    @property
    def is_orphan(self) -> bool:
        """Whether the producer was collected."""
        return self._producer() is None

    def listens(self, name: str) -> bool:
        """Whether any subscriber would hear that event."""
        return self.monitor.listens(name) or self._shared.listens(name)

    def asks_for(self, name: str) -> bool:
        """Whether a subscriber wants that event to be made, not only to hear it."""
        return self.monitor.asks_for(name) or self._shared.asks_for(name)

    def emit(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        duration_ms: float | None = None,
        begun: list[Callable[..., object]] | None = None,
        client: object | None = None,
    ) -> None:
        """Send an event to its subscribers; returns at once if there are none.

        What a subscriber raises is contained, and reported once as `error.occurred` of
        type `subscriber.error`. What a signal handler raises comes out, after the other
        subscribers have run. Each subscriber that has begun is added to `begun`. An
        emission that finds some there continues behind them.
        """
        if self.listens(name):
            event = self._event(name, payload, duration_ms, client)
            failures = self._deliver(event, (), [] if begun is None else begun)
            if failures:
                self._report(failures)

    def error(self, kind: str, error: BaseException, /, **payload: Any) -> None:
        """Send `error.occurred` with a type out of `events.ERROR_TYPES`.

        It is logged where no subscriber hears it; see `Log.error`.
        """
        if not self.emit_error(kind, error, **payload):
            LOG.error(self, kind, error, payload)

    def emit_error(self, kind: str, error: BaseException, /, **payload: Any) -> bool:
        """Send `error.occurred`; whether it was heard, else the caller logs it.

        A user's function hears, and so does a listener that logs. A listener that only
        counts does not.
        """
        if not self.listens(_ERROR):
            return False
        whole = {"type": kind, "error": error, **payload}
        begun: list[Callable[..., object]] = []
        failures = self._deliver(self._event(_ERROR, whole, None), (), begun)
        if failures:
            self._report(failures)
        return not all(map(only_counts, begun))

    def _event(
        self,
        name: str,
        payload: Mapping[str, Any] | None,
        duration_ms: float | None,
        client: object | None = None,
    ) -> Event:
        whole = {**self._identity(), **(payload or {})}
        return Event(name, whole, self.tags, duration_ms, self.given_id, client)

    def _identity(self) -> dict[str, Any]:
        """The keys that every payload has."""
        return {"producer_id": self.producer_id}

    def _deliver(
        self,
        event: Event,
        deaf: Sequence[Callable[..., object]],
        begun: list[Callable[..., object]],
    ) -> list[_Failure]:
        """Call subscribers that are not `deaf`, and add each to `begun`; who raised."""
        failures: list[_Failure] = []
        interruption: BaseException | None = None
        skipped = len(begun)
        sender = self._producer()
        for monitor in (self.monitor, self._shared):
            for subscriber, call in monitor.receivers(event.name, sender):
                if subscriber in deaf:
                    continue
                if skipped:
                    skipped -= 1
                    continue
                try:
                    # No call between the two, so that no signal handler gets in there.
                    begun += (subscriber,)
                    call(event)
                except BaseException as error:  # noqa: BLE001 - contained and reported
                    if from_signal_handler(error):
                        interruption = error
                    else:
                        failures.append(_Failure(subscriber, event, error))
        if interruption is not None:
            try:
                raise interruption
            finally:
                del interruption  # the traceback would hold the frame that holds it
        return failures

    def _report(self, failures: list[_Failure]) -> None:
        """Report each failure once, to subscribers that did not fail at an error.

        A subscriber that raises while it hears of an error is not called again here. So
        every round has fewer subscribers than the one before, and it ends. A failure
        that no subscriber is left to hear is logged.
        """
        deaf: list[Callable[..., object]] = []
        while failures:
            subscriber, event, error = failures.pop(0)
            of_an_error = event.name == _ERROR
            if of_an_error:
                deaf.append(subscriber)
            about = {"event": event.name, "subscriber": _name_of(subscriber)}
            whole = {"type": _SUBSCRIBER, "error": error, **about}
            begun: list[Callable[..., object]] = []
            raised = self._deliver(self._event(_ERROR, whole, None), deaf, begun)
            told = sum(not only_counts(each) for each in begun)
            failures += raised
            # A subscriber that raised at an error has not really heard of it.
            if of_an_error:
                told -= sum(not only_counts(each.subscriber) for each in raised)
            if not told:
                LOG.error(self, _SUBSCRIBER, error, {**about, "heard": event})


def _name_of(fn: Callable[..., object]) -> str:
    """Module and name of a function; of another callable object, those of its type."""
    while isinstance(fn, partial):
        fn = fn.func
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{named.__module__}.{named.__qualname__}"
