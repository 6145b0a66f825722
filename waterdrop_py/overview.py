"""The whole process at a glance: `ledger()`, `health()`, and figures for listeners."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.side_by_side import side_by_side
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.connection.ledger import Saved
from waterdrop_py._engine.introspection import probe
from waterdrop_py._engine.introspection.accounts import ACCOUNTS, Labels
from waterdrop_py._engine.introspection.health import (
    OK,
    UNAVAILABLE,
    Health,
    status_of,
)
from waterdrop_py._engine.introspection.stats import ProducerStats
from waterdrop_py._engine.introspection.sums import Sum
from waterdrop_py._engine.shutdown import exit
from waterdrop_py._settings.arguments import flag, required_seconds
from waterdrop_py.errors import BrokerUnreachableError
from waterdrop_py.planning import Buckets

__all__ = [
    "Labels",
    "Ledger",
    "ProcessHealth",
    "ProducerStats",
    "any_client_open",
    "close_at_exit",
    "figures",
    "health",
    "ledger",
]

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sums over everything that this process ever made.

    Variants, closed producers and collected ones count too. `str()` is one sentence.

    Attributes:
        opens: clients opened.
        reopens: of those, all but the first of each producer or variant.
        disconnects: clients closed, by the reason of `producer.disconnected`.
        connected_s: seconds with an open client.
        disconnected_s: seconds without a client, after the first was closed and until
            `close()`.
        saved: what was not held meanwhile.
        reopen_times_ms: as in `ProducerStats`, in milliseconds.
        idle_gaps_s: as in `ProducerStats`, in seconds.
        unmeasured: disconnects of which it is not known what they released.
    """

    opens: int
    reopens: int
    disconnects: Mapping[str, int]
    connected_s: float
    disconnected_s: float
    saved: Saved
    reopen_times_ms: Buckets
    idle_gaps_s: Buckets
    unmeasured: int

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, which JSON takes."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def __str__(self) -> str:
        saved, times = self.saved, self.reopen_times_ms
        text = (
            f"not held: {saved.connection_s:,.0f} connection-seconds, "
            f"{saved.thread_s:,.0f} thread-seconds and {saved.descriptor_s:,.0f} "
            f"descriptor-seconds; the price: {_counted(self.reopens, 're-open')}"
        )
        half, most = times.quantile(0.5), times.quantile(0.99)
        if half is None or most is None:
            return text
        return f"{text}, half of them within {_ms(half)} and 99 % within {_ms(most)}"


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """Whether the producers of this process work.

    Attributes:
        healthy: whether each of them does. Without producers it is True.
        producers: the health of each producer that is not closing or closed, by `id`;
            of several with one id, that of an unhealthy one.
    """

    healthy: bool
    producers: Mapping[str, Health]

    def http(self, *, live: bool = False) -> tuple[int, dict[str, Any]]:
        """The status code, 200 or 503, and a body with `status` and `producers`.

        Each of `producers` is what `Health.http` answers. `live`: see there.

        Raises:
            InvalidArgumentError: `live` is not a bool.
        """
        flag("live", live)
        answers = {name: each.http(live=live) for name, each in self.producers.items()}
        fine = all(code == OK for code, _ in answers.values())
        return OK if fine else UNAVAILABLE, {
            "status": status_of(healthy=self.healthy),
            "producers": {name: body for name, (_, body) in answers.items()},
        }


def ledger() -> Ledger:
    """What this process did not hold, and what that cost.

    Opens nothing, never blocks, is not activity. Thread-safe. A forked child starts at
    zero.
    """
    total = figures(lambda _: None).get(None) or Sum().stats()
    return Ledger(
        opens=total.opens,
        reopens=total.reopens,
        disconnects=total.disconnects,
        connected_s=total.connected_ms / 1000,
        disconnected_s=total.idle_ms_saved / 1000,
        saved=total.saved,
        reopen_times_ms=total.reopen_times_ms,
        idle_gaps_s=total.idle_gaps_s,
        unmeasured=total.unmeasured,
    )


def health(*, deep: bool = False, timeout: float | timedelta = 5.0) -> ProcessHealth:
    """Whether every producer of this process works that is not closing or closed.

    Shallow: opens nothing, never blocks, and is not activity. Deep: asks the cluster of
    each producer, all at the same time, and blocks for at most `timeout` seconds in
    all. Thread-safe.

    Raises:
        InvalidArgumentError: an argument is invalid.
    """
    check()
    bound = required_seconds("timeout", timeout)
    flag("deep", deep)
    connections = [
        account.source.connection
        for account in ACCOUNTS.read()[0]
        if not account.is_variant
    ]
    producers = [
        each for each in connections if not (each.is_closing or each.emitter.is_orphan)
    ]
    if deep:
        answers = _ask_all(producers, bound)
    else:
        answers = [probe.health(each, None) for each in producers]
    found: dict[str, Health] = {}
    for connection, answer in zip(producers, answers, strict=True):
        name = connection.emitter.producer_id
        if name not in found or found[name].healthy:
            found[name] = answer
    return ProcessHealth(all(each.healthy for each in found.values()), found)


def _ask_all(producers: list[Connection], bound: float) -> list[Health]:
    """The deep health of each, within `bound` seconds in all."""
    deadline = clock.system_now() + bound

    def ask(connection: Connection) -> Health:
        return probe.health(connection, max(0.0, deadline - clock.system_now()))

    calls = side_by_side([partial(ask, each) for each in producers], deadline)
    return [
        call.result() if call.done else _unanswered(connection, bound)
        for connection, call in zip(producers, calls, strict=True)
    ]


def _unanswered(connection: Connection, bound: float) -> Health:
    error = BrokerUnreachableError(
        f"producer {connection.emitter.producer_id!r} had no answer within {bound:g} s",
        checklist=connection.reports.checklist(),
    )
    return Health(False, connection.status, True, None, error)


def figures(key: Callable[[Labels], _K]) -> dict[_K, ProducerStats]:
    """The figures of this process by `key(labels)`, for listeners.

    Everything that was ever made counts once: each producer and each variant with a
    client of its own, also when it is closed or collected. Those with the same key are
    added up, exactly. So no counter of one key ever falls: not by a re-open, a
    `close()`, a collected producer, nor two producers with one id. In the sums,
    `in_flight` and `buffered` are of producers that live, `opens` less all
    `disconnects` is the number of open clients, `idle_timeout_ms` is the longest,
    `reopen_ms` is None, and `variants` is empty.

    `Labels` has the `id` that the user gave (None: none, or in a pool), the `pool`'s
    name that the user gave, and the `tags` as pairs. What has ended is kept as one sum
    for each different `Labels`.

    A forked child starts at zero. Who remembers figures compares `os.getpid()`.

    Opens nothing, is not activity, takes no lock, and never blocks. Thread-safe. It
    takes 20 us for each producer, so it is for a scrape or a push; the figures of one
    producer that closes are in the payload of `producer.closed`.
    """
    check()
    accounts, ended = ACCOUNTS.read()
    sums: dict[_K, Sum] = {}
    for labels, total in ended.items():
        sums.setdefault(key(labels), Sum()).add_sum(total)
    for account in accounts:
        sums.setdefault(key(account.labels), Sum()).add(account.source.own_stats())
    return {each: total.stats() for each, total in sums.items()}


def close_at_exit() -> None:
    """Close all producers at the exit, before the exit handlers registered so far run.

    Exporters register such handlers, and take nothing afterwards: neither the figures
    of the last messages nor their spans.
    """
    exit.install()


def any_client_open() -> bool:
    """Whether a producer of this process has an open client. For listeners.

    Takes less than a millisecond for a thousand producers. Thread-safe.
    """
    check()
    return any(
        account.source.connection.current_client is not None
        for account in ACCOUNTS.read()[0]
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def _ms(edge: float) -> str:
    return f"{edge:,.0f} ms"
