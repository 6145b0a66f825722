"""`python -m benchmarks.page RESULTS...`: write docs/benchmarks.md and its picture."""

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

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the page of what `python -m benchmarks --output` wrote."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page")
    parser.add_argument(
        "results", nargs="+", type=Path, help="the whole run first, then other Pythons'"
    )
    parser.add_argument("--command", default="make bench", help="what repeats it")
    parser.add_argument("--page", type=Path, default=PAGE, help="what to write")
    asked = parser.parse_args(arguments)
    runs = [load(path) for path in asked.results]
    picture = asked.page.with_suffix(".svg")
    draw(runs[0].rows, picture)
    asked.page.write_text(markdown(runs, asked.command, picture.name))
    print(f"written: {asked.page} and {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
