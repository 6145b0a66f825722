"""The result of a scenario: its figures in words, and whether all is well."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from waterdrop_py.cli.demo.usage import Resources

_NAME: Final = 25
"""Columns of a name in the table of what is held."""


@dataclass(frozen=True)
class Delivered:
    """What each scenario measures. All lines fit into 60 columns.

    Attributes:
        sent: the payload of each message that a producer accepted.
        acknowledged: how many of them were reported as delivered.
        read_back: the payload of each message of ours that a consumer found.
        idle: the most that was held beyond the start while every producer was idle;
            None on a system without /proc.
        seconds: how long the scenario took.
    """

    sent: Sequence[bytes]
    acknowledged: int
    read_back: Sequence[bytes]
    idle: Resources | None
    seconds: float

    @property
    def lost(self) -> int:
        """Messages that were accepted and are not in the topic."""
        return len(set(self.sent) - set(self.read_back))

    @property
    def duplicated(self) -> int:
        """Messages in the topic beyond the first of each payload."""
        return len(self.read_back) - len(set(self.read_back))

    def problems(self) -> list[str]:
        """What went wrong, in words; empty if all is well."""
        found = []
        if self.lost:
            found.append(f"{self.lost} messages were lost")
        if self.duplicated:
            found.append(f"{self.duplicated} messages were duplicated")
        if self.acknowledged != len(self.sent):
            missing = len(self.sent) - self.acknowledged
            found.append(f"{missing} messages were not acknowledged")
        if self.idle is not None and self.idle.sockets:
            found.append(f"{self.idle.sockets} sockets stayed open while idle")
        return found

    def report(self) -> list[str]:
        """The figures, as lines."""
        return [
            f"messages     sent {len(self.sent)}, acknowledged {self.acknowledged}, "
            f"read back {len(self.read_back)}",
            f"             lost {self.lost}, duplicated {self.duplicated}",
        ]

    def conclusion(self) -> str:
        """The verdict, in one line."""
        found = self.problems()
        if found:
            return f"FAILED: {'; '.join(found)} ({self.seconds:.1f} s)"
        kept = "no socket kept" if self.idle is not None else "sockets not counted"
        return f"OK: nothing lost or duplicated, {kept} ({self.seconds:.1f} s)"


@dataclass(frozen=True)
class Outcome(Delivered):
    """The measured figures of one run of `waterdrop demo`.

    Attributes:
        late_ms: milliseconds from the deadline to its disconnect, for each of them.
        producers: how many producers there were.
        bare: what as many bare clients held meanwhile.
        wake_up_ms: milliseconds from each send while disconnected to its report.
        fresh_ms: the same for a new bare client, measured in turns.
    """

    late_ms: Sequence[float]
    producers: int
    bare: Resources | None
    wake_up_ms: Sequence[float]
    fresh_ms: Sequence[float]

    def report(self) -> list[str]:
        """The figures, as lines."""
        n = self.producers
        late = _range(self.late_ms)
        ours, bare = f"{n} waterdrop producers", f"{n} bare clients"
        return [
            *super().report(),
            *held("while idle", [(ours, self.idle), (bare, self.bare)]),
            f"disconnects  {len(self.late_ms)}, {late} after the deadline",
            "first message, from its send to its report, linger.ms=0",
            f"  after a disconnect     {_latencies(self.wake_up_ms)}",
            f"  of a new bare client   {_latencies(self.fresh_ms)}",
        ]


def held(heading: str, rows: Iterable[tuple[str, Resources | None]]) -> list[str]:
    """A table of what is held, by whom. None is a system without /proc."""
    lines = [f"{heading:<{_NAME}}{'sockets':>7}{'threads':>9}{'descriptors':>13}"]
    for name, resources in rows:
        sockets, threads, fds = ("-", "-", "-") if resources is None else resources
        lines.append(f"  {name:<{_NAME - 2}}{sockets:>7}{threads:>9}{fds:>13}")
    return lines


def percentile(values: Iterable[float], percent: int) -> float:
    """The value that `percent` % of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _range(values: Sequence[float]) -> str:
    if not values:
        return "never"
    return f"{min(values):.1f} to {max(values):.1f} ms"


def _latencies(values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    p50, p90 = statistics.median(values), percentile(values, 90)
    return f"p50 {p50:.2f} ms  p90 {p90:.2f} ms  n {len(values)}"
