"""`MetricsListener`: what the listeners that count have in common.

A subclass reads `_figures()`, `_errors`, `_refusals`, `_topics` and `_statistics`, in
its `_turn`. It either reads them when it is asked (Prometheus, OpenTelemetry), or gives
an `interval` and has `push` called: by `waterdrop-metrics`, and at each disconnect and
close.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, TypeAlias

from waterdrop_py._engine.concurrency import threads, unhooked_forks
from waterdrop_py._settings.arguments import flag
from waterdrop_py.events import Event, listener_method
from waterdrop_py.listeners._event_counts import EventCounts
from waterdrop_py.listeners._figures import read_figures
from waterdrop_py.listeners._series import Series, checked_tag_labels, series_of
from waterdrop_py.listeners._statistics import Statistics
from waterdrop_py.listeners._thread import Job, MetricsThread
from waterdrop_py.listeners._turn import Turn
from waterdrop_py.monitor import Subscribing
from waterdrop_py.overview import ProducerStats, any_client_open

Outcome: TypeAlias = Literal["acknowledged", "failed"]
_FAILED: Final = "librdkafka.dispatch_error"
_FORK_PATIENCE: Final = 1.0
"""Seconds that a fork waits for the figures that are being pushed, which takes some
milliseconds. The child may never push, if the locks for that are held as it begins."""


class MetricsListener(Subscribing):
    """Counts what producers do, by `Series`.

    Without `topics` and `statistics` it subscribes to no event that comes per message.
    Thread-safe. In a forked child all its figures begin at zero.

    Attributes:
        _errors: errors by series and type.
        _refusals: refused disconnects by series and reason.
        _topics: outcomes of messages by series, topic and outcome; only with `topics`.
        _statistics: what librdkafka says; None without `statistics`.
        _turn: in which they are read.
    """

    only_counts = True

    def __init__(
        self,
        *,
        tag_labels: Iterable[str] = (),
        topics: bool = False,
        statistics: bool = False,
        interval: float | None = None,
    ) -> None:
        self._tag_labels = checked_tag_labels(tag_labels)
        self._errors = EventCounts()
        self._refusals = EventCounts()
        self._topics = EventCounts()
        self._counts_topics = flag("topics", topics)
        self._statistics = Statistics() if flag("statistics", statistics) else None
        self._turn = Turn()
        self._subscriptions: list[None] = []
        me = weakref.ref(self)
        self._job = None if interval is None else Job(interval, lambda: _push(me))
        if topics:
            self._hear("message.acknowledged", self._acknowledged)
            self._hear("message.purged", self._purged)
        if statistics:
            self._hear("statistics.emitted", self._emitted)
        if statistics or interval is not None:
            self._hear("producer.disconnected", self._disconnected)
        if interval is not None:
            self._hear("producer.connected", self._connected)
            self._hear("producer.closed", self._closed)
        LISTENERS.add(self)

    def _hear(self, name: str, method: Callable[[Event], None]) -> None:
        """Have a subscription to this listener include that event."""
        setattr(self, listener_method(name), method)

    def _figures(self) -> dict[Series, ProducerStats]:
        """The sums of `stats()` as they are now."""
        return read_figures(self._tag_labels)

    def _series(self, event: Event) -> Series:
        return series_of(event.given_id, event.tags, self._tag_labels)

    # -- subscriptions -----------------------------------------------------

    def subscribed(self) -> None:
        """A subscription has begun: push from now on."""
        self._subscriptions.append(None)
        if self._job is not None:
            THREAD.add(self._job)

    def unsubscribed(self) -> None:
        """A subscription has ended: push a last time if no other one is left."""
        self._subscriptions.pop()
        if self._job is not None and not self._subscriptions:
            THREAD.remove(self._job)
            self.push_now()

    def push(self) -> None:
        """Tell what has changed since the last time; called in the listener's turn."""
        raise NotImplementedError

    def push_now(self) -> None:
        """Push, after other threads that do. Blocks for at most 1 s for those."""
        self._turn.run(self.push)

    def _push_for_event(self) -> None:
        if self._job is not None:
            THREAD.run_soon(self._job)

    def reset(self) -> None:
        """Start at zero: this is a forked child."""
        self._turn = Turn()
        for counts in (self._errors, self._refusals, self._topics):
            counts.reset()
        if self._statistics is not None:
            self._statistics.reset()

    @property
    def pushes(self) -> bool:
        """Whether it has `push` called."""
        return self._job is not None

    @property
    def turn(self) -> Turn:
        """In which the figures are read and pushed."""
        return self._turn

    # -- events ------------------------------------------------------------

    def on_error_occurred(self, event: Event) -> None:
        """Count an error by its type."""
        kind, series = event["type"], self._series(event)
        # The names of callbacks are no closed set.
        closed = "callbacks.error" if kind.startswith("callbacks.") else kind
        self._errors.add(series, closed)
        if not THREAD.is_running:  # such as when no client can be opened
            self._push_for_event()
        if self._counts_topics and kind == _FAILED:
            self._count_topic(event, "failed")

    def on_producer_disconnect_refused(self, event: Event) -> None:
        """Count a refusal by its reason."""
        self._refusals.add(self._series(event), event["reason"])

    def _acknowledged(self, event: Event) -> None:
        self._count_topic(event, "acknowledged")

    def _purged(self, event: Event) -> None:
        self._count_topic(event, "failed")

    def _count_topic(self, event: Event, outcome: Outcome) -> None:
        self._topics.add(self._series(event), event["topic"], outcome)

    def _emitted(self, event: Event) -> None:
        if self._statistics is not None:
            series, emitted = self._series(event), event["statistics"]
            self._statistics.take(series, event.client, emitted)

    def _connected(self, _event: Event) -> None:
        THREAD.ensure()

    def _disconnected(self, event: Event) -> None:
        if self._statistics is not None:
            self._statistics.end(event.client)
        self._push_for_event()

    def _closed(self, _event: Event) -> None:
        self._push_for_event()


def _push(reference: weakref.ref[MetricsListener]) -> None:
    listener = reference()
    if listener is not None:
        listener.push_now()


class _Listeners:
    """The metrics listeners of this process, held weakly, and its forks.

    A child inherits the locks of what a listener pushes to, such as those of
    prometheus_client. So nothing is pushed while the process forks.
    """

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[MetricsListener]] = {}

    def add(self, listener: MetricsListener) -> None:
        """Add one."""
        key, references = id(listener), self._references
        references[key] = weakref.ref(listener, lambda _: references.pop(key, None))

    def _alive(self) -> Iterator[MetricsListener]:
        for reference in list(self._references.values()):
            listener = reference()
            if listener is not None:
                yield listener

    def before_fork(self) -> None:
        """Wait until nothing is pushed, and let nothing begin."""
        for listener in self._alive():
            if listener.pushes:
                listener.turn.begin_fork(_FORK_PATIENCE)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        for listener in self._alive():
            if listener.pushes:
                listener.turn.end_fork(listener.push)

    def after_fork_in_child(self) -> None:
        """Start afresh, at zero."""
        THREAD.reset()
        for listener in self._alive():
            listener.reset()


THREAD: Final = MetricsThread(any_client_open)
LISTENERS: Final = _Listeners()
threads.before_end(THREAD.run_pending)
# After the producers, whose hooks were registered when their module was imported.
unhooked_forks.on_fork(LISTENERS.after_fork_in_child)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=LISTENERS.before_fork,
        after_in_parent=LISTENERS.after_fork_in_parent,
        after_in_child=LISTENERS.after_fork_in_child,
    )
