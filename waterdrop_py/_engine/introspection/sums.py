"""`Sum`: the figures of many producers, added up exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client.tally import NO_GAPS, NO_REOPENS
from waterdrop_py._engine.concurrency.exact import SCALE
from waterdrop_py._engine.connection.ledger import Saved
from waterdrop_py._engine.introspection.stats import ProducerStats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterdrop_py.planning import Buckets

_TIMES: Final = (
    "connected_ms",
    "idle_ms_saved",
    "connection_s",
    "thread_s",
    "descriptor_s",
)


class Sum:
    """Adds figures up. Not thread-safe: each belongs to one reader.

    Times are whole millionths here, of which no sum is rounded. So a sum is the same in
    whatever order its parts were added, and never falls as one of them ends
    (test_sums_do_not_depend_on_the_order).
    """

    __slots__ = ("_counts", "_disconnects", "_gaps", "_reopens", "_timeout", "_times")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._times: dict[str, int] = {}
        self._disconnects: dict[str, int] = {}
        self._gaps: Buckets = NO_GAPS
        self._reopens: Buckets = NO_REOPENS
        self._timeout: float | None = None

    def add(self, stats: ProducerStats) -> None:
        """Add the figures of one producer, without its variants."""
        _add(
            self._counts,
            {
                "opens": stats.opens,
                "reopens": stats.reopens,
                "produced": stats.produced,
                "acknowledged": stats.acknowledged,
                "failed": stats.failed,
                "in_flight": stats.in_flight,
                "buffered": stats.buffered,
                "unmeasured": stats.unmeasured,
            },
        )
        saved = stats.saved
        times = (
            stats.connected_ms,
            stats.idle_ms_saved,
            saved.connection_s,
            saved.thread_s,
            saved.descriptor_s,
        )
        whole = (int(time * SCALE) for time in times)
        _add(self._times, dict(zip(_TIMES, whole, strict=True)))
        _add(self._disconnects, stats.disconnects)
        self._add_rest(stats.idle_gaps_s, stats.reopen_times_ms, stats.idle_timeout_ms)

    def add_sum(self, other: Sum) -> None:
        """Add what `other` has added up."""
        _add(self._counts, other._counts)
        _add(self._times, other._times)
        _add(self._disconnects, other._disconnects)
        self._add_rest(other._gaps, other._reopens, other._timeout)

    def _add_rest(
        self, gaps: Buckets, reopens: Buckets, timeout_ms: float | None
    ) -> None:
        if gaps is not NO_GAPS:
            self._gaps = self._gaps + gaps
        if reopens is not NO_REOPENS:
            self._reopens = self._reopens + reopens
        if timeout_ms is not None:
            self._timeout = max(timeout_ms, self._timeout or 0.0)

    def stats(self) -> ProducerStats:
        """The sums. `reopen_ms` is None, and there are no variants; of several idle
        timeouts it is the longest."""
        counts = self._counts.get
        times = {name: self._times.get(name, 0) / SCALE for name in _TIMES}
        return ProducerStats(
            opens=counts("opens", 0),
            disconnects=dict(self._disconnects),
            produced=counts("produced", 0),
            acknowledged=counts("acknowledged", 0),
            failed=counts("failed", 0),
            in_flight=counts("in_flight", 0),
            buffered=counts("buffered", 0),
            connected_ms=times["connected_ms"],
            idle_ms_saved=times["idle_ms_saved"],
            reopen_ms=None,
            variants={},
            reopens=counts("reopens", 0),
            reopen_times_ms=self._reopens,
            idle_gaps_s=self._gaps,
            saved=Saved(
                times["connection_s"], times["thread_s"], times["descriptor_s"]
            ),
            unmeasured=counts("unmeasured", 0),
            idle_timeout_ms=self._timeout,
        )


def _add(totals: dict[str, int], more: Mapping[str, int]) -> None:
    for name, figure in more.items():
        totals[name] = totals.get(name, 0) + figure
