"""Each promise on the page about guarantees names a test that exists."""

from __future__ import annotations

import ast
import re
from typing import Final

import pytest

from tests.docs.running import ROOT

PAGE: Final = ROOT / "docs" / "explanation" / "guarantees.md"
NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_it_exists(file: str, test: str) -> None:
    """The file has a function of that name."""
    tree = ast.parse((ROOT / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert test in names


def test_the_page_names_tests() -> None:
    """The pattern finds what the page has."""
    assert len(NAMED) > 20
