"""What comments and docs name exists: tests, files, and the length of the map."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

import waterdrop_py.aio
import waterdrop_py.testing  # noqa: F401
from waterdrop_py._settings.answering import Patchable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
# The pages for maintainers, and those that name the test behind each promise.
PROJECT = ROOT / "docs" / "project"
DOCS = sorted([*PROJECT.glob("*.md"), *(ROOT / "docs" / "explanation").glob("*.md")])
SOURCES = sorted((ROOT / "waterdrop_py").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
NAME = re.compile(r"\btest_[a-z0-9_]+")
FILE = re.compile(r"`((?:_engine|_settings|aio|cli|testing|listeners)/[a-z_/]+\.py)`")
# A file, and behind it in parentheses what the walk goes through there.
STEP = re.compile(r"`([a-z_/]+\.py)`\s+\(`([A-Za-z_.]+)`")


# A copy of something that has a name outside of the function.
TORN = re.compile(
    r"\btuple\((?:(?:[A-Za-z_]+\.)+_?[A-Za-z_]+|_[A-Za-z_]+)(?:\(\))?\)"
    r"|\.copy\(\)|\[:\](?! =)"
)


def known_tests() -> set[str]:
    """The names of all tests and of the files that have them."""
    functions = {
        name
        for path in TESTS
        for name in re.findall(r"def (test_[a-z0-9_]+)", path.read_text())
    }
    return functions | {path.stem for path in TESTS}


def test_comments_and_docs_name_tests_that_exist() -> None:
    """A race comment ends with its test, and the invariants with theirs."""
    known = known_tests()
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*SOURCES, *DOCS]
        for name in NAME.findall(path.read_text())
        # A line that has no room for a whole name ends it with three dots.
        if not any(each.startswith(name) for each in known)
    }
    assert not missing


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_docs_name_files_that_exist(page: Path) -> None:
    """A newcomer finds each file that the docs send them to."""
    named = FILE.findall(page.read_text())
    assert [name for name in named if not (ROOT / "waterdrop_py" / name).exists()] == []


def test_the_walks_name_functions_that_exist() -> None:
    """The walks of the pages go from function to function."""
    steps = [step for page in DOCS for step in STEP.findall(page.read_text())]
    assert len(steps) > 16
    for file, symbol in steps:
        source = (ROOT / "waterdrop_py" / file).read_text()
        for name in symbol.split("."):
            assert re.search(rf"(def|class) {name}\b", source), (file, symbol)


def test_the_map_is_short() -> None:
    """`docs/project/architecture.md` is read before the first change: a few pages."""
    lines = (PROJECT / "architecture.md").read_text().splitlines()
    assert len(lines) <= 200


def test_what_is_shared_is_copied_by_list_dict_or_set() -> None:
    """Their constructors allocate first and read then.

    `tuple(...)`, `.copy()` and `[:]` read the length, and allocate: up to Python 3.11
    the garbage collector runs there, and with it finalizers and other threads. What
    those add or remove ends a copy with a RuntimeError, and that of a list in a crash
    (test_a_copy_while_garbage_is_collected).
    """
    torn = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if TORN.search(line)
    ]
    assert torn == []


def patchable(kind: type = Patchable) -> Iterator[type]:
    """The classes whose methods users may patch."""
    subclasses: list[type] = kind.__subclasses__()
    for each in subclasses:
        yield each
        yield from patchable(each)


def test_what_is_patchable_decides_nothing_by_an_attribute() -> None:
    """A function sets its attributes, and before that threads may switch: none of them
    is compared and set (test_a_producer_is_retired_once)."""
    set_later = {
        f"{kind.__name__}.{name}"
        for kind in patchable()
        for name, method in vars(kind).items()
        if inspect.isfunction(method) and name not in {"__init__", "_adopt"}
        if re.search(r"self\.\w+ [-+|]?= ", dedent(inspect.getsource(method)))
    }
    assert len(set(patchable())) > 4
    assert set_later == set()
