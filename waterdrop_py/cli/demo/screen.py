"""What the demo shows: events line by line, and tables, live on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterdrop_py.cli.demo.baseline import BareProcess
    from waterdrop_py.cli.demo.output import Output, Parts
    from waterdrop_py.cli.demo.producers import DemoProducer, EventQueue
    from waterdrop_py.cli.demo.usage import Resources, Usage

FRAME_SECONDS: Final = 0.08
STYLES: Final = {"connected": "green", "disconnected": "cyan"}
HEADER: Final = f"{'producer':<10}{'status':<14}{'ms left':>7}{'acknowledged':>14}"
TOTALS: Final = f"{'held now':<21}{'waterdrop':>10}{'bare':>14}"


class Screen:
    """Prints titles and events as lines, and tables below them.

    A terminal that can move its cursor has one picture, which changes in place.
    Elsewhere each `snapshot` prints one. Used by one thread.
    """

    def __init__(
        self,
        output: Output,
        producers: Sequence[DemoProducer],
        bare: BareProcess,
        usage: Usage,
        news: EventQueue,
    ) -> None:
        self._output = output
        self._producers = producers
        self._bare = bare
        self._usage = usage
        self._news = news
        self._drawn = -FRAME_SECONDS

    def stop(self) -> None:
        """Print the last events, and give the terminal back."""
        self._print_events()
        self._draw()
        self._output.stop()

    def title(self, title: str) -> None:
        """Print the title of the next step."""
        self._print_events()
        self._output.say(f"\n{self._news.seconds():6.2f} s  {title}", "bold")

    def refresh(self) -> None:
        """Print the events that have come, and draw the live part when it is time."""
        self._print_events()
        if self._news.seconds() - self._drawn >= FRAME_SECONDS:
            self._draw()

    def snapshot(self) -> None:
        """Show the tables now."""
        self._print_events()
        if not self._output.is_live:
            for line in self._picture():
                self._output.line(line)
        self._draw()

    def _draw(self) -> None:
        if self._output.is_live:
            self._drawn = self._news.seconds()
            self._output.show(self._picture())

    def _print_events(self) -> None:
        for timed in self._news.take():
            style = "red" if timed.event.name == "error.occurred" else ""
            self._output.say(f"{timed.at:6.2f} s  {timed}", style)

    def _picture(self) -> list[Parts]:
        lines: list[Parts] = [[], [(HEADER, "dim")]]
        acknowledged = 0
        for each in self._producers:
            word = str(each.producer.status)
            due = each.producer.explain_idle().due_in_ms
            count = each.producer.stats().acknowledged
            acknowledged += count
            left = "-" if due is None else f"{due:.0f}"
            status = (f"{word:<14}", STYLES.get(word, "yellow"))
            figures = (f"{left:>7}{count:>14}", "")
            lines.append([(f"{each.name:<10}", ""), status, figures])
        held = self._usage.above_baseline(), self._bare.held
        lines += [[], [(TOTALS, "dim")], *_totals(*held)]
        bare = "-" if self._bare.acknowledged is None else self._bare.acknowledged
        both = f"{acknowledged:>10}{bare:>14}"
        return [*lines, [(f"{'acknowledged':<21}{both}", "")]]


def _totals(ours: Resources | None, bare: Resources | None) -> list[Parts]:
    """A line for each kind of resource: ours, and those of the bare clients."""
    lines: list[Parts] = []
    for name, *counts in zip(_KINDS, ours or _UNKNOWN, bare or _UNKNOWN, strict=True):
        figures = [(f"{counts[0]:>10}", "bold green"), (f"{counts[1]:>14}", "bold")]
        lines.append([(f"{name:<21}", ""), *figures])
    return lines


_KINDS: Final = ("sockets", "librdkafka threads", "descriptors")
_UNKNOWN: Final = ("-", "-", "-")
