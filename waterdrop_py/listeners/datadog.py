"""Defines `DatadogListener`, which pushes figures to a DogStatsD agent."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from waterdrop_py._settings.arguments import flag, required_seconds
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import Event
from waterdrop_py.listeners._event_counts import EventCounts
from waterdrop_py.listeners._extras import missing
from waterdrop_py.listeners._figures import open_clients
from waterdrop_py.listeners._metrics import MetricsListener
from waterdrop_py.listeners._series import Series
from waterdrop_py.listeners._statistics import SeriesStatistics
from waterdrop_py.overview import ProducerStats

try:
    import datadog
except ImportError as _error:
    raise missing("DatadogListener", "datadog", _error) from _error

_METHODS: Final = ("increment", "gauge", "histogram", "distribution")
_COUNTS_OF_BROKERS: Final = {
    "deliver.attempts": "txretries",
    "deliver.errors": "txerrs",
    "receive.errors": "rxerrs",
}
_STATS: Final = ("avg", "p95", "p99")
_LONGEST: Final = 86_400
"""Seconds of an interval: a day."""


class DatadogListener(MetricsListener):
    """Pushes figures to an agent: `monitor.subscribe(DatadogListener())`.

    Has WaterDrop's names, so that its dashboard works, and more. Reports every producer
    of the process, also those that were made before, from the subscription on. Counts
    are pushed as differences, every `interval` seconds by the thread
    `waterdrop-metrics` while a client is open, and at each disconnect and close. So a
    message costs nothing. Metrics have the tag `producer:<id>` with an id that the user
    gave the producer, or the name of its pool; all others add up without it.

    `reopen.duration` and the `saved.*_seconds` are in seconds; `queue.latency.*` and
    `network.latency.*`, with `statistics`, in librdkafka's microseconds. A forked child
    starts at zero. A push blocks its thread as long as `statsd` does. What could not be
    pushed is pushed the next time; an error of `statsd` fails no send.

    Args:
        statsd: a `datadog.DogStatsd`; None: `datadog.statsd`.
        namespace: the prefix of all names, which a dot follows; empty: none.
        tags: tags of all metrics, such as `"env:prod"`.
        tag_labels: names of tags of producers that become tags of metrics.
        topics: also count sends by topic. That takes the events of each message, which
            slow down every send.
        statistics: also push librdkafka's statistics, by broker. Clients that are
            opened afterwards collect them.
        interval: seconds between two pushes, or a `timedelta`; at most a day.

    Thread-safe.

    Raises:
        InvalidArgumentError: an argument is invalid.

    Example:
        >>> from datadog import DogStatsd
        >>> from waterdrop_py.listeners import DatadogListener
        >>> statsd = DogStatsd(host="localhost", port=8125)
        >>> listener = DatadogListener(statsd, tags=["env:prod"], interval=30)
        >>> unsubscribe = monitor.subscribe(listener)
        >>> unsubscribe()
    """

    def __init__(  # noqa: PLR0913 - all but the first by keyword
        self,
        statsd: Any = None,
        *,
        namespace: str = "waterdrop",
        tags: Iterable[str] = (),
        tag_labels: Iterable[str] = (),
        topics: bool = False,
        statistics: bool = False,
        interval: float | timedelta = 10.0,
    ) -> None:
        super().__init__(
            tag_labels=tag_labels,
            statistics=statistics,
            interval=_checked_interval(interval),
        )
        default: Any = datadog.statsd  # type: ignore[attr-defined]
        self._statsd: Any = default if statsd is None else _checked(statsd)
        self._prefix = _checked_prefix(namespace)
        self._tags = _checked_tags(tags)
        self._sends = EventCounts()
        self._pushed: dict[Hashable, float] = {}
        if flag("topics", topics):
            self._count_sends()

    # -- events ------------------------------------------------------------

    def _count_sends(self) -> None:
        for way in ("sync", "async"):
            for name, metric in (
                (f"message.produced_{way}", f"produced_{way}"),
                (f"messages.produced_{way}", f"produced_{way}"),
                (f"buffer.flushed_{way}", f"flushed_{way}"),
            ):
                self._hear(name, partial(self._count_send, metric))

    def _count_send(self, metric: str, event: Event) -> None:
        """Count the messages of a send by their topics."""
        series, messages = self._series(event), event.payload.get("messages")
        for message in messages or (event["message"],):
            self._sends.add(series, metric, message.topic)

    def _disconnected(self, event: Event) -> None:
        super()._disconnected(event)
        took_ms, series = event["reopen_ms"], self._series(event)
        if took_ms is not None:
            self._tell("distribution", "reopen.duration", took_ms / 1000, series)

    # -- pushes ------------------------------------------------------------

    def subscribed(self) -> None:
        """A subscription has begun: push what changes from now on."""
        if not self._subscriptions:
            self._turn.run(lambda: self._push(tell=False))
        super().subscribed()

    def push(self) -> None:
        """Push what has changed since the last time, and flush `statsd`."""
        self._push(tell=True)

    def reset(self) -> None:
        """Start at zero: this is a forked child."""
        super().reset()
        self._sends.reset()
        self._pushed = {}

    def _push(self, *, tell: bool) -> None:
        """Note what there is; `tell` the agent how much it is more than before."""
        for series, stats in self._figures().items():
            self._push_stats(series, stats, tell)
        for (series, (metric, topic)), number in self._sends.read().items():
            self._count(metric, number, series, tell, f"topic:{topic}")
        for (series, (kind,)), number in self._errors.read().items():
            self._count("error_occurred", number, series, tell, f"type:{kind}")
        if self._statistics is not None:
            for series, told in self._statistics.read().items():
                self._push_statistics(series, told, tell)
        if tell and hasattr(self._statsd, "flush"):
            self._statsd.flush()  # if it buffers, at an end its buffer may be lost

    def _push_stats(self, series: Series, stats: ProducerStats, tell: bool) -> None:
        for name, value in (
            ("produced", stats.produced),
            ("acknowledged", stats.acknowledged),
            ("failed", stats.failed),
            ("saved.connection_seconds", stats.saved.connection_s),
            ("saved.thread_seconds", stats.saved.thread_s),
            ("saved.descriptor_seconds", stats.saved.descriptor_s),
            ("connected", stats.opens),
        ):
            self._count(name, value, series, tell)
        for reason, number in stats.disconnects.items():
            self._count("disconnected", number, series, tell, f"reason:{reason}")
        if tell:
            self._tell("gauge", "clients.open", open_clients(stats), series)
            self._tell("gauge", "in_flight", stats.in_flight, series)
            self._tell("histogram", "buffer.size", stats.buffered, series)

    def _push_statistics(
        self, series: Series, told: SeriesStatistics, tell: bool
    ) -> None:
        self._count("calls", told.tx, series, tell)
        if tell:
            self._tell("histogram", "queue.size", told.msg_cnt, series)
        for node, broker in told.brokers.items():
            tag = f"broker:{broker.nodename}"
            for name, counter in _COUNTS_OF_BROKERS.items():
                number = broker.counters[counter]
                self._count(name, number, series, tell, tag, of=node)
            for name, window in (
                ("network.latency", broker.rtt),
                ("queue.latency", broker.outbuf_latency),
            ):
                for stat in _STATS if tell else ():
                    if stat in window:
                        self._tell("gauge", f"{name}.{stat}", window[stat], series, tag)

    def _count(
        self,
        name: str,
        value: float,
        series: Series,
        tell: bool,
        *tags: str,
        of: str = "",
    ) -> None:
        """Count how much `value` has grown since the last time.

        `of`: what is counted, where the tags may change.
        """
        key = (name, series, of or tags)
        more = value - self._pushed.get(key, 0)
        if more > 0:
            if tell:
                self._tell("increment", name, more, series, *tags)
            self._pushed[key] = value

    def _tell(
        self, method: str, name: str, value: float, series: Series, *tags: str
    ) -> None:
        of = [*self._tags_of(series), *tags]
        getattr(self._statsd, method)(f"{self._prefix}{name}", value, of, 1)

    def _tags_of(self, series: Series) -> list[str]:
        named = zip(self._tag_labels, series.tags, strict=True)
        return [
            *self._tags,
            *([f"producer:{series.producer}"] if series.producer else ()),
            *(f"{name}:{value}" for name, value in named if value),
        ]


def _checked(statsd: Any) -> Any:
    absent = [name for name in _METHODS if not callable(getattr(statsd, name, None))]
    if absent:
        raise InvalidArgumentError(
            f"statsd: must be a datadog.DogStatsd, got {shown(statsd)}, which has no "
            f"{absent[0]}()"
        )
    return statsd


def _checked_prefix(namespace: object) -> str:
    if not isinstance(namespace, str):
        raise InvalidArgumentError(f"namespace: must be a str, got {shown(namespace)}")
    return f"{namespace}." if namespace else ""


def _checked_tags(given: Any) -> tuple[str, ...]:
    legal = 'an iterable of str such as "env:prod"'
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidArgumentError(f"tags: must be {legal}, got {shown(given)}")
    tags = tuple(given)
    for tag in tags:
        if not isinstance(tag, str) or not tag:
            raise InvalidArgumentError(
                f"tags: must be {legal}, got {shown(tag)} in {shown(tags)}"
            )
    return tags


def _checked_interval(given: float | timedelta) -> float:
    interval = required_seconds("interval", given)
    if not 0 < interval <= _LONGEST:
        raise InvalidArgumentError(
            f"interval: must be more than 0 seconds and at most {_LONGEST}, got "
            f"{shown(given)}"
        )
    return interval
