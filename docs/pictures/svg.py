"""A small canvas that writes SVG, in the colours of a light and of a dark page."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HERE: Final = Path(__file__).parent
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
Point = tuple[float, float]


@dataclass(frozen=True)
class Theme:
    """The colours of one scheme; the page's own background shows through."""

    name: str
    ink: str
    muted: str
    line: str
    panel: str
    ours: str
    bare: str
    warn: str
    page: str


_COLOURS: Final = {
    "ink": ("#1f2937", "#e6e9ee"),
    "muted": ("#5b6472", "#a3acb9"),
    "line": ("#d8dee4", "#48515e"),
    "panel": ("#f1f4f7", "#242b35"),
    "ours": ("#0b7285", "#5cc8e6"),
    "bare": ("#c2410c", "#fb923c"),
    "warn": ("#b91c1c", "#f87171"),
    "page": ("#ffffff", "#131416"),
}
"""Each colour on a light page, and on a dark one."""
LIGHT: Final = Theme("light", **{name: pair[0] for name, pair in _COLOURS.items()})
DARK: Final = Theme("dark", **{name: pair[1] for name, pair in _COLOURS.items()})


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


@dataclass
class Canvas:
    """What is drawn; later parts lie above earlier ones."""

    width: int
    height: int
    theme: Theme
    title: str
    parts: list[str] = field(default_factory=list)

    def text(
        self,
        at: Point,
        words: str,
        *,
        colour: str | None = None,
        size: float = 14,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """One line of text, whose baseline begins (or ends) at the point."""
        weight = ' font-weight="600"' if bold else ""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.parts.append(
            f'<text x="{_number(at[0])}" y="{_number(at[1])}" '
            f'font-size="{_number(size)}" fill="{colour or self.theme.ink}"'
            f"{where}{weight}>{escape(words)}</text>"
        )

    def lines(
        self, at: Point, words: Iterable[str], step: float = 17, **how: object
    ) -> None:
        """Several lines of text, one below the other."""
        for number, line in enumerate(words):
            self.text((at[0], at[1] + number * step), line, **how)  # type: ignore[arg-type]

    def box(
        self,
        at: Point,
        size: Point,
        *,
        fill: str | None = None,
        stroke: str | None = None,
        radius: float = 6,
        dash: bool = False,
        width: float = 1.5,
    ) -> None:
        """A rectangle with round corners."""
        dashed = ' stroke-dasharray="5 4"' if dash else ""
        edge = f' stroke="{stroke}" stroke-width="{_number(width)}"' if stroke else ""
        self.parts.append(
            f'<rect x="{_number(at[0])}" y="{_number(at[1])}" '
            f'width="{_number(size[0])}" height="{_number(size[1])}" '
            f'rx="{_number(radius)}" fill="{fill or "none"}"{edge}{dashed}/>'
        )

    def path(
        self,
        points: Iterable[Point],
        colour: str,
        *,
        width: float = 1.5,
        dash: bool = False,
        arrow: bool = False,
        fill: str = "none",
        opacity: float = 1,
    ) -> None:
        """Straight lines from point to point; `arrow` ends them with a head."""
        places = [*points]
        drawn = "M" + " L".join(f"{_number(x)} {_number(y)}" for x, y in places)
        self.curve(drawn, colour, width=width, dash=dash, fill=fill, opacity=opacity)
        if arrow:
            self.head(places[-2], places[-1], colour)

    def curve(
        self,
        drawn: str,
        colour: str,
        *,
        width: float = 1.5,
        dash: bool = False,
        fill: str = "none",
        opacity: float = 1,
    ) -> None:
        """A path in SVG's own words."""
        dashed = ' stroke-dasharray="5 4"' if dash else ""
        faint = f' opacity="{opacity}"' if opacity < 1 else ""
        edge = f'stroke="{colour}" stroke-width="{_number(width)}"' if width else ""
        self.parts.append(f'<path d="{drawn}" fill="{fill}" {edge}{dashed}{faint}/>')

    def head(self, before: Point, tip: Point, colour: str, size: float = 8) -> None:
        """The head of an arrow that comes from `before` and ends at `tip`."""
        across, down = tip[0] - before[0], tip[1] - before[1]
        length = (across**2 + down**2) ** 0.5 or 1
        across, down = across / length, down / length
        back = (tip[0] - across * size, tip[1] - down * size)
        side = size * 0.45
        corners = [
            tip,
            (back[0] - down * side, back[1] + across * side),
            (back[0] + down * side, back[1] - across * side),
        ]
        drawn = " ".join(f"{_number(x)},{_number(y)}" for x, y in corners)
        self.parts.append(f'<polygon points="{drawn}" fill="{colour}"/>')

    def dot(self, at: Point, colour: str, radius: float = 4) -> None:
        """A filled circle."""
        self.parts.append(
            f'<circle cx="{_number(at[0])}" cy="{_number(at[1])}" '
            f'r="{_number(radius)}" fill="{colour}"/>'
        )

    def svg(self) -> str:
        """The whole file."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" '
                f'height="{self.height}" viewBox="0 0 {self.width} {self.height}" '
                f'font-family="{_FONT}" role="img">',
                f"<title>{escape(self.title)}</title>",
                *self.parts,
                "</svg>\n",
            ]
        )


def save(name: str, draw: Callable[[Theme], Canvas]) -> None:
    """Write a picture in both schemes."""
    for theme in (LIGHT, DARK):
        (HERE / f"{name}-{theme.name}.svg").write_text(draw(theme).svg())
