"""Runs one page, or one module's docstrings, in a process of its own.

`python -m tests.docs.alone PATH SERVERS FOLDER` writes what became of it to
`FOLDER/outcome.json`. What a page subscribes to, logs or leaves open ends with it, and
its exit is an exit as a user's program has it.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

from sybil.document import PythonDocStringDocument

from tests.docs.blocks import read_page
from tests.docs.running import ADDRESS, ROOT, Outcome, Runner, run_doctest


def run_docstrings(path: Path, servers: str) -> Outcome:
    """Run the examples of a module's docstrings, each in a namespace of its own."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    source = path.read_text()
    outcome = Outcome()
    for start, _, text in PythonDocStringDocument.extract_docstrings(source):
        if ">>> " not in text:
            continue
        line = source.count("\n", 0, start) + 1
        outcome.ran += 1
        failure = run_doctest(
            text.replace(ADDRESS, servers),
            str(path),
            line,
            {"__name__": module},
            lambda printed: printed.replace(servers, ADDRESS),
        )
        outcome.failures += [failure] if failure else []
    return outcome


def main() -> None:
    """Run what the arguments name."""
    path, servers, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    # A page that shows a setting which warns says so itself.
    warnings.simplefilter("default")
    if path.suffix == ".py":
        outcome = run_docstrings(path, servers)
    else:
        outcome = Runner(servers, folder, read_page(path)).run()
    (folder / "outcome.json").write_text(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
