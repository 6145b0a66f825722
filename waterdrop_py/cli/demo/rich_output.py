"""Writes the demo with rich: in colour, with a live part, where stdout can do that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from waterdrop_py.cli.demo.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterdrop_py.cli.demo.output import Parts


class RichOutput(Output):
    """Writes to stdout. Used by one thread."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self.is_live: bool = self._console.is_interactive
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def line(self, parts: Parts) -> None:
        """Write a line. A terminal gets whole words in each, a pipe whole lines."""
        self._console.print(Text.assemble(*parts), soft_wrap=not self.is_live)

    def show(self, lines: Sequence[Parts]) -> None:
        """Draw the live part anew; the first one begins it."""
        if self.is_live:
            if not self._live.is_started:
                self._live.start()
            text = Text("\n").join(Text.assemble(*parts) for parts in lines)
            text.no_wrap = True
            self._live.update(text, refresh=True)

    def stop(self) -> None:
        """End the live part, and give the terminal back."""
        self._live.stop()
