"""The pages whose examples run, and how one is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from tests.docs.blocks import read_page
from tests.docs.running import ROOT, Outcome

if TYPE_CHECKING:
    from pathlib import Path

PAGE_S: Final = 100
# Pages for maintainers: their blocks are no examples.
_PROJECT: Final = ROOT / "docs" / "project"


def _has_examples(path: Path) -> bool:
    if path.is_relative_to(_PROJECT):
        return False
    runnable = ("python", "pycon", "console", "output")
    return any(block.language in runnable for block in read_page(path).blocks)


ALL: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES: Final = [path for path in ALL if _has_examples(path)]
DOCSTRINGS: Final = [
    path
    for path in sorted((ROOT / "waterdrop_py").rglob("*.py"))
    if ">>> " in path.read_text()
]


def run_alone(path: Path, servers: str, folder: Path) -> Outcome:
    """Run a page or a module's docstrings in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.docs.alone",
        str(path),
        servers,
        str(folder),
    ]
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PAGE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        text = f"{path}: not over after {PAGE_S} s\n{late.stdout!r}\n{late.stderr!r}"
        return Outcome(failures=[text])
    written = folder / "outcome.json"
    if not written.exists():
        return Outcome(failures=[f"{path}: {ended.stdout}{ended.stderr}"])
    outcome = Outcome(**json.loads(written.read_text()))
    if ended.returncode != 0:
        outcome.failures.append(f"{path}: its process ended with {ended.returncode}")
    return outcome
