"""The result of the demo: its figures in words, and whether all is well."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterdrop_py.cli.demo.usage import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from waterdrop_py.cli.demo.usage import Resources


@dataclass(frozen=True)
class Delivered:
    """The messages of one run.

    Attributes:
        sent: the payload of each message that a producer accepted.
        acknowledged: how many of them were reported as delivered.
        read_back: the payload of each message of ours that a consumer found.
    """

    sent: Sequence[bytes]
    acknowledged: int
    read_back: Sequence[bytes]

    @property
    def lost(self) -> int:
        """Messages that were accepted and are not in the topic."""
        return len(set(self.sent) - set(self.read_back))

    @property
    def duplicated(self) -> int:
        """Messages in the topic beyond the first of each payload."""
        return len(self.read_back) - len(set(self.read_back))

    def problems(self) -> list[str]:
        """What went wrong with them, in words."""
        found = []
        if self.lost:
            found.append(f"{self.lost} messages were lost")
        if self.duplicated:
            found.append(f"{self.duplicated} messages were duplicated")
        if self.acknowledged != len(self.sent):
            missing = len(self.sent) - self.acknowledged
            found.append(f"{missing} messages were not acknowledged")
        return found

    def counts(self) -> str:
        """Their numbers, as a line of the report."""
        return (
            f"messages      sent {len(self.sent)}, acknowledged {self.acknowledged}, "
            f"read back {len(self.read_back)}, "
            f"lost {self.lost}, duplicated {self.duplicated}"
        )


@dataclass(frozen=True)
class Outcome(Delivered):
    """The measured figures of one run.

    Attributes:
        idle: the most that was held beyond the start while every producer was idle;
            None on a system without /proc.
        late_ms: milliseconds from the deadline to its disconnect, for each of them.
        producers: how many producers there were.
        bare: what as many bare clients held while idle.
        wake_up_ms: milliseconds from each send while disconnected to its report.
        fresh_ms: the same for a new bare client, measured in turns.
        seconds: how long the demo took.
    """

    idle: Resources | None
    late_ms: Sequence[float]
    producers: int
    bare: Resources | None
    wake_up_ms: Sequence[float]
    fresh_ms: Sequence[float]
    seconds: float


def problems(outcome: Outcome) -> list[str]:
    """What went wrong, in words; empty if all is well."""
    found = outcome.problems()
    if outcome.idle is not None and outcome.idle.sockets:
        found.append(f"{outcome.idle.sockets} sockets stayed open while idle")
    return found


def report(outcome: Outcome) -> list[str]:
    """The figures, as lines that fit into 80 columns."""
    n = outcome.producers
    return [
        outcome.counts(),
        f"while idle    {n} producers: {shown(outcome.idle)}",
        f"              {n} bare clients: {shown(outcome.bare)}",
        f"disconnects   {len(outcome.late_ms)} for idleness, {_range(outcome.late_ms)} "
        "after the deadline",
        f"wake-up       {_latencies(outcome.wake_up_ms)}  send to report, disconnected",
        f"              {_latencies(outcome.fresh_ms)}  fresh confluent_kafka.Producer",
        f"              n = {len(outcome.wake_up_ms)} each, in turns, linger.ms=0",
    ]


def conclusion(outcome: Outcome) -> str:
    """The verdict, in one line."""
    found = problems(outcome)
    if found:
        return f"FAILED: {'; '.join(found)} ({outcome.seconds:.1f} s)"
    stayed = "sockets not counted: no /proc"
    if outcome.idle is not None:
        stayed = "no socket stayed"
    return f"OK: nothing lost, nothing duplicated, {stayed} ({outcome.seconds:.1f} s)"


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
    p50, p99 = statistics.median(values), percentile(values, 99)
    return f"p50 {p50:6.2f} ms   p99 {p99:6.2f} ms"
