"""The harness of the examples: what is wrong on a page fails its test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import read_page
from tests.docs.running import Outcome, Runner

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = "127.0.0.1:1"


def outcome_of(text: str, folder: Path) -> Outcome:
    """What becomes of a page with that text."""
    path = folder / "page.md"
    path.write_text(text)
    return Runner(SERVERS, folder, read_page(path)).run()


def block(language: str, *lines: str) -> str:
    """A fenced block."""
    return "\n".join([f"```{language}", *lines, "```", ""])


@pytest.mark.parametrize(
    "text",
    [
        block("python", "1 / 0"),
        block("python", "print(1)", "# -> 2"),
        block("python", ">>> 1 + 1", "3"),
        block("python", "print(1)") + block("output", "2"),
        block("console", "$ waterdrop --help", "no such line"),
        block("console", "$ waterdrop nothing"),
        "<!-- hidden\nassert False\n-->\n",
        "1. In a list:\n\n   ```python\n   1 / 0\n   ```\n",
        "::::{tab-set}\n" + block("python", "1 / 0") + "::::\n",
    ],
)
def test_what_is_wrong_fails(text: str, tmp_path: Path) -> None:
    """An exception, another output, a hidden assertion, at any depth of the page."""
    assert len(outcome_of(text, tmp_path).failures) == 1


@pytest.mark.parametrize(
    "text",
    [
        block("python", "x = 1") + block("python", "print(x)", "# -> 1"),
        block("python", "print('a 123 b')") + block("output", "a ... b"),
        block("python", "print('localhost:9092')", "# -> localhost:9092"),
        block("python", ">>> 1 + 1", "2"),
        block(
            "console", "$ pip install nothing", "$ waterdrop --version", "waterdrop ..."
        ),
        "<!-- hidden\nx = 1\n-->\n" + block("python", "assert x"),
        block("{code-block} python", ":caption: a.py", "", "print('a')")
        + block("console", "$ python a.py", "a"),
        block("yaml", "a: 1"),
    ],
)
def test_what_is_right_passes(text: str, tmp_path: Path) -> None:
    """Blocks share names; `...` is any text; the cluster's address is not seen."""
    outcome = outcome_of(text, tmp_path)
    assert outcome.failures == []
    assert outcome.ran + outcome.shown > 0


def test_a_skip_is_counted_with_its_reason(tmp_path: Path) -> None:
    """A block that does not run says why."""
    text = '<!-- skip: "a reason" -->\n' + block("python", "1 / 0")
    outcome = outcome_of(text, tmp_path)
    assert outcome.failures == []
    assert outcome.skipped == ["page.md:3: a reason"]


@pytest.mark.parametrize(
    "text",
    [
        "<!-- skip -->\n" + block("python", "x = 1"),
        '<!-- skip: "no" -->\n' + block("python", "x = 1"),
        '<!-- skip: "nothing follows" -->\n',
    ],
)
def test_a_skip_needs_a_reason_and_a_block(text: str, tmp_path: Path) -> None:
    """Nothing is skipped silently, or for good."""
    with pytest.raises(ValueError, match="skip"):
        outcome_of(text, tmp_path)


def test_a_page_may_need_a_broker(tmp_path: Path) -> None:
    """The mark at the top of the page."""
    path = tmp_path / "page.md"
    path.write_text("---\nbroker: real\n---\n\n# Page\n")
    assert read_page(path).needs_broker
    path.write_text("# Page\n\nbroker: real\n")
    assert not read_page(path).needs_broker
