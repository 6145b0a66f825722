"""Defines a row of the table: a figure, what it is compared with, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OURS, BARE = "waterdrop_py", "confluent_kafka"


class Bound(NamedTuple):
    """A limit that a figure must reach, from above or from below."""

    figure: float
    at_least: bool

    def holds(self, value: float) -> bool:
        """Whether `value` is within the limit."""
        return value >= self.figure if self.at_least else value <= self.figure

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {shown(self.figure)}"


def at_most(figure: float) -> Bound:
    """The bound that `figure` and everything below reach."""
    return Bound(figure, at_least=False)


def at_least(figure: float) -> Bound:
    """The bound that `figure` and everything above reach."""
    return Bound(figure, at_least=True)


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        n: the number of measurements behind the figure.
        bare: the figure of confluent_kafka alone, if it can be compared.
        others: the figures of other clients for the same work, in the same unit.
        by_ratio: whether the bounds are for the ratio to bare, or for the figure.
        spread: the middle half of the rounds' ratios to bare.
        more_than: whether bare was stopped at `bare`, so that its figure is larger.
        where: the broker that it was measured on.
    """

    name: str
    unit: str
    n: int
    ours: float
    must: Bound | None = None
    aim: Bound | None = None
    bare: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)
    by_ratio: bool = False
    spread: tuple[float, float] | None = None
    more_than: bool = False
    note: str = ""
    where: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by bare's."""
        return self.ours / self.bare if self.bare else None

    @property
    def met(self) -> bool:
        """Whether the must is reached, or there is none."""
        return self._reached(self.must)

    def verdict(self) -> str:
        """The better of must and aim that is reached, MISSED, or an empty text."""
        if self.must is None and self.aim is None:
            return ""
        if not self.met:
            return "MISSED"
        return "aim" if self.aim and self._reached(self.aim) else "must"

    def _reached(self, bound: Bound | None) -> bool:
        judged = self.ratio if self.by_ratio else self.ours
        return bound is None or judged is None or bound.holds(judged)

    def comparisons(self) -> list[tuple[str, str]]:
        """Each other client's figure, and its ratio to bare's."""
        return [
            (name, f"{shown(figure)} {self.unit}, {shown(figure / self.bare)} of bare")
            for name, figure in self.others.items()
            if self.bare
        ]

    def cells(self) -> list[str]:
        """The row as text; `HEADER` names the columns."""
        bare = "-" if self.bare is None else f"{shown(self.bare)} {self.unit}"
        ratio = "-" if self.ratio is None else shown(self.ratio)
        return [
            self.name,
            f"{shown(self.ours)} {self.unit}".strip(),
            f"> {bare}" if self.more_than else bare,
            f"< {ratio}" if self.more_than else ratio,
            "-" if self.spread is None else " to ".join(map(shown, self.spread)),
            "-" if self.must is None else str(self.must),
            "-" if self.aim is None else str(self.aim),
            self.verdict(),
            str(self.n),
        ]


HEADER = ["what", "ours", "bare", "ratio", "middle half", "must", "aim", "reached", "n"]


def compared(  # noqa: PLR0913 - a row has that many columns
    name: str,
    rounds: Mapping[str, Sequence[float]],
    *,
    unit: str,
    n: int,
    must: Bound | None = None,
    aim: Bound | None = None,
    note: str = "",
) -> Row:
    """A row of the medians of `rounds`, with bounds for the ratio.

    `rounds` has a figure for each round of each client.
    """
    medians = {client: median(figures) for client, figures in rounds.items()}
    ours, bare = medians.pop(OURS), medians.pop(BARE)
    return Row(
        name,
        unit,
        n,
        ours,
        must,
        aim,
        bare,
        medians,
        by_ratio=True,
        spread=_middle_half(rounds[OURS], rounds[BARE]),
        note=note,
    )


def absolute(  # noqa: PLR0913 - a row has that many columns
    name: str,
    ours: float,
    *,
    unit: str,
    n: int,
    must: Bound | None = None,
    aim: Bound | None = None,
    note: str = "",
) -> Row:
    """A row of a figure that is not compared, with bounds for itself."""
    return Row(name, unit, n, ours, must, aim, note=note)


def _middle_half(
    ours: Sequence[float], bare: Sequence[float]
) -> tuple[float, float] | None:
    ratios = [mine / its for mine, its in zip(ours, bare, strict=True)]
    if len(ratios) < 2:
        return None
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return low, high


def shown(value: float) -> str:
    """The figure with as many digits as are meaningful."""
    if value == int(value) and abs(value) < 100_000:
        return str(int(value))
    if abs(value) >= 1_000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
