"""Runs the blocks of a page, and compares what they print."""

from __future__ import annotations

import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.docs.blocks import Block, Page

ROOT: Final = Path(__file__).parents[2]
ADDRESS: Final = "localhost:9092"
"""What the pages write for a broker; the tests put the cluster's address there."""
COMMAND_S: Final = 60
_FLAGS: Final = (
    doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
)
_OURS: Final = ("waterdrop", "python", "pytest")
_SAID: Final = re.compile(r"^[ ]*# -> ?(.*)$", re.MULTILINE)
_SKIP: Final = re.compile(r"#\s*doctest:\s*\+SKIP\b(.*)")


@dataclass
class Outcome:
    """What became of a page's blocks."""

    ran: int = 0
    shown: int = 0
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Runner:
    """Runs the blocks of one page in order, against one cluster."""

    def __init__(self, servers: str, folder: Path, page: Page) -> None:
        self._servers = servers
        self._folder = folder
        self._page = page
        # `__name__`: what a page defines can be pickled and compared.
        self._namespace: dict[str, Any] = {"__name__": f"page_{page.path.stem}"}
        self._printed = ""
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """Run all blocks; a failure does not stop the page."""
        for block in self._page.blocks:
            where = f"{self._page.path.name}:{block.line}"
            if block.skipped is not None:
                self._outcome.skipped.append(f"{where}: {block.skipped}")
                continue
            failure = self._run_block(block)
            if failure is not None:
                self._outcome.failures.append(f"{where}: {failure}")
        return self._outcome

    def _run_block(self, block: Block) -> str | None:
        """Run one block, or count it as shown; what is wrong, or None."""
        if block.file is not None:
            self._write(block.file, block.text)
        elif block.language == "console":
            return self._console(block.text)
        elif block.language in {"python", "pycon"}:
            self._outcome.ran += 1
            if block.text.lstrip().startswith(">>>"):
                return self._doctest(block)
            return self._execute(block)
        elif block.language == "output":
            self._outcome.ran += 1
            return difference(block.text, self._masked(self._printed))
        self._outcome.shown += 1
        return None

    def _aimed(self, text: str) -> str:
        """The text with the cluster's address in place of the page's."""
        return text.replace(ADDRESS, self._servers)

    def _masked(self, printed: str) -> str:
        """What was printed, with the page's address in place of the cluster's."""
        return printed.replace(self._servers, ADDRESS)

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._aimed(text))

    def _doctest(self, block: Block) -> str | None:
        path = str(self._page.path)
        for skip in _SKIP.findall(block.text):
            reason = skip.strip(" :#-")
            if not reason:
                return "a skip needs a reason behind it, in the same comment"
            self._outcome.skipped.append(f"{path}:{block.line}: {reason}")
        text = self._aimed(block.text)
        return run_doctest(text, path, block.line, self._namespace, self._masked)

    def _execute(self, block: Block) -> str | None:
        """Run a block of Python; the traceback of a failure."""
        out = io.StringIO()
        # Padded, so that a traceback has the line of the page.
        source = "\n" * (block.line - 1) + self._aimed(block.text)
        said = "\n".join(_SAID.findall(block.text))
        try:
            code = compile(source, str(self._page.path), "exec", dont_inherit=True)
            with redirect_stdout(out):
                exec(code, self._namespace)
        except BaseException:  # noqa: BLE001 - reported as the page's failure
            return traceback.format_exc()
        finally:
            self._printed = out.getvalue()
        return difference(said, self._masked(self._printed)) if said else None

    def _console(self, text: str) -> str | None:
        for command, expected in _commands(text):
            words = shlex.split(command, comments=True)
            if not words or Path(words[0]).name not in _OURS:
                self._outcome.shown += 1
                continue
            self._outcome.ran += 1
            printed, code = self._call(words)
            if code != 0:
                return f"`{command}` ended with {code}:\n{printed}"
            if expected.strip() and (failure := difference(expected, printed)):
                return f"`{command}`: {failure}"
        return None

    def _call(self, words: list[str]) -> tuple[str, int]:
        """Run a command of ours in the page's folder; what it prints, and its code."""
        program = {
            "waterdrop": [sys.executable, "-m", "waterdrop_py"],
            "python": [sys.executable],
            # The environment's other plugins take seconds to import.
            "pytest": [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
                *("-p", "waterdrop_py.testing.plugin"),
            ],
        }[Path(words[0]).name]
        words = [self._aimed(word) for word in words[1:]]
        ended = subprocess.run(
            [*program, *words],
            cwd=self._folder,
            env={
                **os.environ,
                "COLUMNS": "80",
                "NO_COLOR": "1",
                "PYTHONPATH": "",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        return self._masked(ended.stdout + ended.stderr), ended.returncode


def run_doctest(
    text: str,
    path: str,
    line: int,
    namespace: dict[str, Any],
    masked: Any = str,
) -> str | None:
    """Run examples that start with `>>>`; what differs, or None."""
    out = io.StringIO()
    runner = doctest.DocTestRunner(checker=_Checker(masked), optionflags=_FLAGS)
    parsed = doctest.DocTestParser().get_examples(text)
    test = doctest.DocTest(parsed, namespace, f"{path}:{line}", path, line, text)
    runner.run(test, out=out.write, clear_globs=False)
    namespace.update(test.globs)
    return out.getvalue() or None


class _Checker(doctest.OutputChecker):
    """Compares with what was printed, but for the cluster's address."""

    def __init__(self, masked: Any) -> None:
        self._masked = masked

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, self._masked(got), optionflags)


def _commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output below it."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found and found[-1][0].endswith("\\"):
            found[-1] = (found[-1][0][:-1] + line, "")
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
    return found


def difference(expected: str, printed: str) -> str | None:
    """None if the two agree: `...` is any text, and the amount of space is free."""
    checker = doctest.OutputChecker()
    if checker.check_output(expected, printed, _FLAGS):
        return None
    return f"expected:\n{expected}\nprinted:\n{printed}"


__all__ = ["ADDRESS", "ROOT", "Outcome", "Runner", "difference", "run_doctest"]
