"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

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

from waterdrop_py.cli.demo.usage import Resources

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import RenderableType

    from waterdrop_py.cli.demo.producers import DemoProducer, EventQueue, TimedEvent
    from waterdrop_py.cli.demo.usage import Usage

COLUMNS: Final = {
    "producer": "<10",
    "status": "<14",
    "sockets": ">7",
    "threads": ">9",
    "descriptors": ">13",
    "ms left": ">9",
    "acknowledged": ">14",
}
"""The columns, and their format in a plain line."""
FRAME_SECONDS: Final = 0.08
MAX_EVENTS: Final = 24
NOTHING: Final = Resources(0, 0, 0)
STYLES: Final = {"connected": "green", "disconnected": "cyan"}


class Screen(Protocol):
    """Where the demo is shown. A context manager, used by one thread."""

    def __enter__(self) -> Screen: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def title(self, title: str) -> None:
        """Show the title of the next step."""

    def refresh(self) -> None:
        """Show what has changed, if it is time to."""

    def snapshot(self) -> None:
        """Show the table now."""


@dataclass
class View:
    """The data that is shown."""

    producers: Sequence[DemoProducer]
    usage: Usage
    news: EventQueue

    def rows(self) -> list[list[str]]:
        """A row for each producer, and one for the process as a whole."""
        held = self.usage.by_owner()
        rows = [_row(each, held.get(each.name, NOTHING)) for each in self.producers]
        acknowledged = sum(int(row[-1]) for row in rows)
        total = self.usage.above_baseline()
        rows.append(["process", "", *_figures(total), "", str(acknowledged)])
        return rows


def _row(each: DemoProducer, held: Resources) -> list[str]:
    producer = each.producer
    due = producer.explain_idle().due_in_ms
    return [
        each.name,
        str(producer.status),
        *_figures(held),
        "-" if due is None else f"{due:.0f}",
        str(producer.stats().acknowledged),
    ]


def _figures(held: Resources | None) -> list[str]:
    return ["?"] * 3 if held is None else [str(figure) for figure in held]


def has_terminal() -> bool:
    """Whether the live view can be drawn on stdout."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def open_screen(view: View) -> Screen:
    """A live screen on a terminal, else a plain one."""
    return LiveScreen(view) if has_terminal() else PlainScreen(view)


class PlainScreen:
    """Prints events and tables as lines, without control characters."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()

    def title(self, title: str) -> None:
        """Print the title."""
        self.refresh()
        print(f"\n{self._view.news.seconds():6.2f} s  {title}", flush=True)

    def refresh(self) -> None:
        """Print the events that have come."""
        for timed in self._view.news.take():
            print(f"{timed.at:6.2f} s    {timed}", flush=True)

    def snapshot(self) -> None:
        """Print the table."""
        self.refresh()
        for row in (list(COLUMNS), *self._view.rows()):
            cells = zip(row, COLUMNS.values(), strict=True)
            line = "".join(format(cell, layout) for cell, layout in cells)
            print(line.rstrip(), flush=True)


class LiveScreen:
    """Draws a table, and the latest events below it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._title = ""
        self._events: deque[TimedEvent] = deque(maxlen=MAX_EVENTS)
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

    def title(self, title: str) -> None:
        """Change the title."""
        self._title = title
        self.snapshot()

    def refresh(self) -> None:
        """Draw, unless it was done a moment ago."""
        if self._view.news.seconds() - self._drawn >= FRAME_SECONDS:
            self.snapshot()

    def snapshot(self) -> None:
        """Draw now."""
        self._drawn = self._view.news.seconds()
        self._events.extend(self._view.news.take())
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        headline = Text.assemble(
            (f"{self._drawn:6.2f} s  ", "dim"),
            (self._title, "bold"),
            overflow="ellipsis",
            no_wrap=True,
        )
        table = self._table()
        used = len(self._view.producers) + 5  # headline, table, and a line to spare
        room = max(1, min(MAX_EVENTS, self._console.height - used))
        recent = list(self._events)[-room:]
        events = [self._line(timed) for timed in recent]
        events += [Text("")] * (room - len(events))
        return Group(headline, table, *events)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name, layout in COLUMNS.items():
            is_text = layout.startswith("<")
            table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
        for name, word, *figures in self._view.rows():
            if name == "process":
                table.add_section()
            status = Text(word, STYLES.get(word, "yellow"))
            table.add_row(name, status, *figures)
        return table

    def _line(self, timed: TimedEvent) -> Text:
        style = "red" if timed.event.name == "error.occurred" else ""
        return Text.assemble(
            (f"{timed.at:6.2f} s  ", "dim"),
            (str(timed), style),
            overflow="ellipsis",
            no_wrap=True,
        )
