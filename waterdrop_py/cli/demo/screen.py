"""What the demo shows: events line by line, and a table, live on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from waterdrop_py.cli.demo.usage import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from waterdrop_py.cli.demo.producers import DemoProducer, EventQueue
    from waterdrop_py.cli.demo.usage import Usage

FRAME_SECONDS: Final = 0.08
STYLES: Final = {"connected": "green", "disconnected": "cyan"}


def open_console() -> Console:
    """What writes to stdout. Colours and control codes go to terminals only."""
    return Console(highlight=False, markup=False, emoji=False)


def say(console: Console, text: str, style: str = "") -> None:
    """Print text. A terminal gets whole words in each line, a pipe whole lines."""
    console.print(Text(text, style), soft_wrap=not console.is_interactive)


class Screen:
    """Prints titles and events as lines, and the table below them.

    A terminal that can move its cursor has one table, which changes in place. Elsewhere
    each `snapshot` prints one. Used by one thread.
    """

    def __init__(
        self,
        console: Console,
        producers: Sequence[DemoProducer],
        usage: Usage,
        news: EventQueue,
    ) -> None:
        self._console = console
        self._producers = producers
        self._usage = usage
        self._news = news
        self._drawn = -FRAME_SECONDS
        self._live = Live(
            console=console,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        """Begin with the live table, where there is one."""
        if self._console.is_interactive:
            self._live.start()

    def stop(self) -> None:
        """Print the last events, and give the terminal back."""
        self._print_events()
        if self._live.is_started:
            self._draw()
        self._live.stop()

    def title(self, title: str) -> None:
        """Print the title of the next step."""
        self._print_events()
        heading = f"\n{self._news.seconds():6.2f} s  {title}"
        say(self._console, heading, "bold")

    def refresh(self) -> None:
        """Print the events that have come, and draw the live table when it is time."""
        self._print_events()
        if self._news.seconds() - self._drawn >= FRAME_SECONDS:
            self._draw()

    def snapshot(self) -> None:
        """Show the table now."""
        self._print_events()
        if not self._console.is_interactive:
            self._console.print(self._picture())
        self._draw()

    def _draw(self) -> None:
        if self._live.is_started:
            self._drawn = self._news.seconds()
            self._live.update(self._picture(), refresh=True)

    def _print_events(self) -> None:
        for timed in self._news.take():
            style = "red" if timed.event.name == "error.occurred" else ""
            say(self._console, f"{timed.at:6.2f} s    {timed}", style)

    def _picture(self) -> RenderableType:
        held = shown(self._usage.above_baseline())
        return Group(self._table(), Text(f"process   {held}"))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("producer", no_wrap=True)
        table.add_column("status", no_wrap=True, min_width=len("disconnected"))
        for name in ("ms left", "acknowledged"):
            table.add_column(name, justify="right", no_wrap=True)
        total = 0
        for each in self._producers:
            word = str(each.producer.status)
            due = each.producer.explain_idle().due_in_ms
            acknowledged = each.producer.stats().acknowledged
            total += acknowledged
            table.add_row(
                each.name,
                Text(word, STYLES.get(word, "yellow")),
                "-" if due is None else f"{due:.0f}",
                str(acknowledged),
            )
        table.add_row("all", "", "", str(total))
        return table
