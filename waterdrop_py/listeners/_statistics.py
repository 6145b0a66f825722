"""Adds up librdkafka's statistics, per client, so that counters never fall."""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from waterdrop_py.listeners._series import Series


class BrokerCounter(NamedTuple):
    """What librdkafka counts of a broker.

    Attributes:
        key: its name in librdkafka's statistics.
        name: its name in a series.
        unit: in OpenTelemetry's words.
        help: what it counts.
    """

    key: str
    name: str
    unit: str
    help: str


COUNTERS: Final = tuple(
    BrokerCounter(*each)
    for each in (
        ("tx", "requests", "{request}", "Requests sent to the broker."),
        ("txbytes", "bytes", "By", "Bytes sent to the broker."),
        ("txerrs", "errors", "{error}", "Errors of sending to the broker."),
        ("txretries", "retries", "{request}", "Requests sent to the broker again."),
        (
            "rxerrs",
            "receive_errors",
            "{error}",
            "Errors of receiving from the broker.",
        ),
        ("connects", "connects", "{attempt}", "Connection attempts to the broker."),
        (
            "disconnects",
            "disconnects",
            "{connection}",
            "Connections to the broker that ended.",
        ),
    )
)
STATS: Final = ("avg", "p50", "p95", "p99")
"""What is told of a broker's `rtt` and `outbuf_latency`, both in microseconds."""

_Window: TypeAlias = Mapping[str, float]


@dataclass
class BrokerStatistics:
    """What is known of one broker, over all clients of a series.

    Attributes:
        nodename: the broker's host and port.
        counters: `COUNTERS` by key, since the first client.
        rtt: `STATS` of the round trip in microseconds, of the open client that has the
            longest average; empty before the first measurement.
        outbuf_latency: likewise, of how long requests waited to be sent.
    """

    nodename: str = ""
    counters: Counter[str] = field(default_factory=Counter)
    rtt: _Window = field(default_factory=dict)
    outbuf_latency: _Window = field(default_factory=dict)


@dataclass
class SeriesStatistics:
    """What librdkafka says of the clients of one series.

    Attributes:
        msg_cnt: messages in the queues of open clients; `msg_size`, their bytes.
        tx: requests sent, since the first client.
        brokers: by node id.
    """

    msg_cnt: int = 0
    msg_size: int = 0
    tx: int = 0
    brokers: dict[str, BrokerStatistics] = field(default_factory=dict)

    def broker(self, node: str) -> BrokerStatistics:
        """What is known of a broker, which may be new."""
        return self.brokers.setdefault(node, BrokerStatistics())

    def add_counters(self, tx: int, brokers: Mapping[str, BrokerStatistics]) -> None:
        """Add what was counted, and nothing of what is said of now."""
        self.tx += tx
        for node, each in brokers.items():
            broker = self.broker(node)
            broker.nodename = each.nodename
            broker.counters.update(each.counters)


class _Client:
    """The newest figures of one client. Written by one thread at a time."""

    __slots__ = ("brokers", "open", "queue", "series", "tx")

    def __init__(self, series: Series) -> None:
        self.series = series
        self.open = True
        self.queue = (0, 0)
        self.tx = 0
        self.brokers: dict[str, BrokerStatistics] = {}

    def take(self, statistics: Mapping[str, Any]) -> None:
        """Take what the client has emitted; each part replaces the one before."""
        self.queue = (
            int(statistics.get("msg_cnt", 0)),
            int(statistics.get("msg_size", 0)),
        )
        self.tx = max(self.tx, int(statistics.get("tx", 0)))
        self.brokers = _brokers(statistics.get("brokers", {}), self.brokers)

    def add_to(self, sums: SeriesStatistics) -> None:
        """Add these figures to those of the series; gauges only while it is open."""
        brokers = self.brokers  # `take` may replace them meanwhile
        sums.add_counters(self.tx, brokers)
        if not self.open:
            return
        sums.msg_cnt += self.queue[0]
        sums.msg_size += self.queue[1]
        for node, each in brokers.items():
            broker = sums.broker(node)
            broker.rtt = _longer(broker.rtt, each.rtt)
            broker.outbuf_latency = _longer(broker.outbuf_latency, each.outbuf_latency)


class Statistics:
    """Takes `statistics.emitted`, and adds it up by series. Without a lock.

    The counters of librdkafka begin at 0 with each client. So the newest ones of each
    client are kept while it exists. Those of a client that was collected go into the
    sums of its series. `read` is for one thread at a time.
    """

    __slots__ = ("_clients", "_collected", "_ended")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start at zero: this is a forked child."""
        self._clients: dict[weakref.ref[object], _Client] = {}
        self._collected: deque[weakref.ref[object]] = deque()
        self._ended: dict[Series, SeriesStatistics] = {}

    def __len__(self) -> int:
        """The number of clients that are told apart."""
        return len(self._clients)

    def take(self, series: Series, client: object, emitted: Mapping[str, Any]) -> None:
        """Take what `client` (`Event.client`) has emitted."""
        if client is None:  # collected already
            return
        known = self._clients.get(weakref.ref(client))
        if known is None:
            # A finalizer only appends: it may run on top of any frame.
            reference = weakref.ref(client, self._collected.append)
            known = self._clients.setdefault(reference, _Client(series))
        known.take(emitted)

    def end(self, client: object) -> None:
        """`client` is closed: what it said of now is over, its counters stay."""
        known = None if client is None else self._clients.get(weakref.ref(client))
        if known is not None:
            known.open = False

    def read(self) -> dict[Series, SeriesStatistics]:
        """The sums of each series as they are now."""
        clients, collected = self._clients, self._collected
        for _ in range(len(collected)):
            client = clients.pop(collected.popleft(), None)
            if client is not None:
                client.open = False
                client.add_to(self._ended.setdefault(client.series, SeriesStatistics()))
        sums: dict[Series, SeriesStatistics] = {}
        for series, ended in self._ended.items():
            total = sums.setdefault(series, SeriesStatistics())
            total.add_counters(ended.tx, ended.brokers)
        for client in list(clients.values()):
            client.add_to(sums.setdefault(client.series, SeriesStatistics()))
        return sums


def _brokers(
    emitted: Mapping[str, Any], before: Mapping[str, BrokerStatistics]
) -> dict[str, BrokerStatistics]:
    """The brokers of a client. One that is told of no more keeps its counters.

    Entries with an id below 0 are left out: they are not brokers of the cluster.
    """
    found: dict[str, BrokerStatistics] = {}
    for entry in emitted.values():
        node = entry.get("nodeid", -1)
        if node < 0:
            continue
        broker = found.setdefault(str(node), BrokerStatistics())
        broker.nodename = entry.get("nodename", "")
        broker.counters.update(
            {each.key: int(entry.get(each.key, 0)) for each in COUNTERS}
        )
        broker.rtt = _longer(broker.rtt, _window(entry, "rtt"))
        broker.outbuf_latency = _longer(
            broker.outbuf_latency, _window(entry, "outbuf_latency")
        )
    for node, old in before.items():
        new = found.setdefault(node, BrokerStatistics(old.nodename))
        for name, number in old.counters.items():
            new.counters[name] = max(number, new.counters[name])
        new.rtt = new.rtt or old.rtt
        new.outbuf_latency = new.outbuf_latency or old.outbuf_latency
    return found


def _window(entry: Mapping[str, Any], name: str) -> _Window:
    """What was measured since the last statistics; empty if nothing was."""
    window = entry.get(name) or {}
    if not window.get("cnt"):
        return {}
    return {stat: window[stat] for stat in STATS if stat in window}


def _longer(one: _Window, other: _Window) -> _Window:
    return other if other.get("avg", -1) > one.get("avg", -1) else one
