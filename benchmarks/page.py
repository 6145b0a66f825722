"""Runs `python -m benchmarks.page RESULTS...`: writes docs/project/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.plot import draw
from benchmarks.report import markdown
from benchmarks.results import load

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).parent.parent / "docs" / "project" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page from files that `python -m benchmarks --output` has written."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page")
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        help="the full run first, then those of other Pythons",
    )
    parser.add_argument(
        "--command", default="make bench", help="the command that repeats the run"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="the file to write")
    asked = parser.parse_args(arguments)
    runs = [load(path) for path in asked.results]
    picture = asked.page.with_suffix(".svg")
    draw(runs[0].rows, picture)
    asked.page.write_text(markdown(runs, asked.command, picture.name))
    print(f"written: {asked.page} and {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
