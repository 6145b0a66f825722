"""The view: live with rich on a terminal, else plain lines."""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from waterdrop_py.cli.demo.usage import Holding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import RenderableType

    from waterdrop_py.cli.demo.producers import Happening, News, Player
    from waterdrop_py.cli.demo.usage import Holdings

COLUMNS: Final = {
    "producer": "<10",
    "status": "<14",
    "sockets": ">7",
    "threads": ">9",
    "descriptors": ">13",
    "ms left": ">9",
    "acknowledged": ">14",
}
"""What each is called, and how it stands in a plain line."""
FRAME_SECONDS: Final = 0.08
MOST_EVENTS: Final = 24
NOTHING: Final = Holding(0, 0, 0)
STYLES: Final = {"connected": "green", "disconnected": "cyan"}


class Screen(Protocol):
    """What the demo shows itself on. A context manager; used by one thread."""

    def __enter__(self) -> Screen: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def chapter(self, title: str) -> None:
        """Something new begins."""

    def refresh(self) -> None:
        """Time has passed."""

    def snapshot(self) -> None:
        """Now is a moment to look at the figures."""


@dataclass
class Scene:
    """What there is to see."""

    players: Sequence[Player]
    holdings: Holdings
    news: News

    def rows(self) -> list[list[str]]:
        """A row for each producer, and one for the process as a whole."""
        held = self.holdings.by_owner()
        rows = [_row(player, held.get(player.name, NOTHING)) for player in self.players]
        acknowledged = sum(int(row[-1]) for row in rows)
        total = self.holdings.above_baseline()
        rows.append(["process", "", *_figures(total), "", str(acknowledged)])
        return rows


def _row(player: Player, held: Holding) -> list[str]:
    producer = player.producer
    due = producer.explain_idle().due_in_ms
    return [
        player.name,
        str(producer.status),
        *_figures(held),
        "-" if due is None else f"{due:.0f}",
        str(producer.stats().acknowledged),
    ]


def _figures(held: Holding | None) -> list[str]:
    return ["?"] * 3 if held is None else [str(figure) for figure in held]


def has_terminal() -> bool:
    """Whether the live view can be drawn on stdout."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def open_screen(scene: Scene) -> Screen:
    """The screen for the terminal that there is, or is not."""
    return LiveScreen(scene) if has_terminal() else PlainScreen(scene)


class PlainScreen:
    """Lines, as things happen; no control characters."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()

    def chapter(self, title: str) -> None:
        """Print a headline."""
        self.refresh()
        print(f"\n{self._scene.news.seconds():6.2f} s  {title}", flush=True)

    def refresh(self) -> None:
        """Print the events that have come."""
        for happening in self._scene.news.take():
            print(f"{happening.at:6.2f} s    {happening}", flush=True)

    def snapshot(self) -> None:
        """Print the table."""
        self.refresh()
        for row in (list(COLUMNS), *self._scene.rows()):
            cells = zip(row, COLUMNS.values(), strict=True)
            line = "".join(format(cell, layout) for cell, layout in cells)
            print(line.rstrip(), flush=True)


class LiveScreen:
    """A table that changes, and the latest events below it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._title = ""
        self._events: deque[Happening] = deque(maxlen=MOST_EVENTS)
        self._drawn = -FRAME_SECONDS
        self._console = Console(highlight=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.snapshot()
        self._live.stop()

    def chapter(self, title: str) -> None:
        """Change the headline."""
        self._title = title
        self.snapshot()

    def refresh(self) -> None:
        """Draw, if the last time is long enough ago."""
        if self._scene.news.seconds() - self._drawn >= FRAME_SECONDS:
            self.snapshot()

    def snapshot(self) -> None:
        """Draw now."""
        self._drawn = self._scene.news.seconds()
        self._events.extend(self._scene.news.take())
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        headline = Text.assemble(
            (f"{self._drawn:6.2f} s  ", "dim"),
            (self._title, "bold"),
            overflow="ellipsis",
            no_wrap=True,
        )
        table = self._table()
        used = len(self._scene.players) + 5  # headline, table, and a line to spare
        room = max(1, min(MOST_EVENTS, self._console.height - used))
        recent = list(self._events)[-room:]
        events = [self._line(happening) for happening in recent]
        events += [Text("")] * (room - len(events))
        return Group(headline, table, *events)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name, layout in COLUMNS.items():
            is_text = layout.startswith("<")
            table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
        for name, word, *figures in self._scene.rows():
            if name == "process":
                table.add_section()
            status = Text(word, STYLES.get(word, "yellow"))
            table.add_row(name, status, *figures)
        return table

    def _line(self, happening: Happening) -> Text:
        style = "red" if happening.event.name == "error.occurred" else ""
        return Text.assemble(
            (f"{happening.at:6.2f} s  ", "dim"),
            (str(happening), style),
            overflow="ellipsis",
            no_wrap=True,
        )
