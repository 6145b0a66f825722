"""Where the demo writes: lines, and on a terminal a part below them that changes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TypeAlias

Parts: TypeAlias = Sequence[tuple[str, str]]
"""The pieces of one line, each with its style, in rich's words; empty: none."""


class Output:
    """Writes plain lines to stdout: what a pipe gets, and a system without rich."""

    is_live = False
    """Whether `show` draws."""

    def say(self, text: str, style: str = "") -> None:
        """Write text, which may have several lines."""
        self.line([(text, style)])

    def line(self, parts: Parts) -> None:
        """Write a line of pieces."""
        print("".join(text for text, _ in parts), flush=True)

    def show(self, lines: Sequence[Parts]) -> None:
        """Replace the lines below everything else, where there is a terminal."""

    def stop(self) -> None:
        """Leave the last lines that were shown where they are. Idempotent."""


def open_output() -> Output:
    """What suits stdout. Colours and control codes go to terminals only."""
    if find_spec("rich") is None:
        return Output()
    from waterdrop_py.cli.demo.rich_output import RichOutput

    return RichOutput()
