"""A row of the table: one figure, what it is compared with, and its bound."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure. `bare` is what confluent_kafka alone has, where it can be compared.

    Attributes:
        n: how many measurements the figure stands on.
        bound: the figure's bound in words, `met` whether it holds.
    """

    name: str
    unit: str
    n: int
    ours: float
    bound: str
    met: bool
    bare: float | None = None
    more_than: bool = False
    """Bare was given up at `bare`, so its true figure is above."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by bare's."""
        return self.ours / self.bare if self.bare else None

    def cells(self) -> list[str]:
        """The row as text; `HEADER` names the columns."""
        bare = "-" if self.bare is None else _figure(self.bare)
        sign = ("> ", "< ") if self.more_than else ("", "")
        return [
            self.name,
            f"{_figure(self.ours)} {self.unit}".strip(),
            "-" if self.bare is None else f"{sign[0]}{bare} {self.unit}".strip(),
            "-" if self.ratio is None else f"{sign[1]}{_figure(self.ratio)}",
            self.bound,
            "" if self.bound == "-" else "pass" if self.met else "MISS",
            str(self.n),
        ]


HEADER = ["what", "ours", "bare", "ratio", "bound", "", "n"]


def compared(  # noqa: PLR0913 - a row has that many columns
    name: str,
    ours: float,
    bare: float,
    *,
    unit: str,
    n: int,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> Row:
    """A figure bounded by its ratio to bare's."""
    bound, met = _bound(ours / bare, at_most, at_least)
    shown = bound if bound == "-" else f"ratio {bound}"
    return Row(name, unit, n, ours, shown, met, bare, note=note)


def absolute(  # noqa: PLR0913 - a row has that many columns
    name: str,
    ours: float,
    *,
    unit: str,
    n: int,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> Row:
    """A figure bounded by itself."""
    bound, met = _bound(ours, at_most, at_least)
    return Row(name, unit, n, ours, f"{bound} {unit}".strip(), met, note=note)


def _bound(
    figure: float, at_most: float | None, at_least: float | None
) -> tuple[str, bool]:
    if at_most is not None:
        return f"<= {_figure(at_most)}", figure <= at_most
    if at_least is not None:
        return f">= {_figure(at_least)}", figure >= at_least
    return "-", True


def _figure(value: float) -> str:
    """As many digits as say something."""
    if value == int(value) and abs(value) < 100_000:
        return str(int(value))
    if abs(value) >= 1_000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
