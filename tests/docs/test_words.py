"""Plain English: words that the pages, docstrings and comments do without."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.docs.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# Each with what to write instead.
WORDS: Final = {
    "whoever": "name who it is",
    "nobody": "no one, or name who does not",
    "somebody": "someone, or name who",
    "now and then": "occasional, occasionally",
    "sooner or later": "say when",
    "utilize": "use",
    "leverage": "use",
    "in order to": "to",
    "simply": "leave it out",
    "obviously": "leave it out",
    "please": "leave it out",
    "seamless": "say what happens",
    "seamlessly": "say what happens",
    "blazing": "give the figure",
    "powerful": "say what it does",
    "robust": "say what it survives",
    "under the hood": "inside",
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "and others, or the whole list",
    "shall": "must, or will",
    "file handle": "file descriptor",
    "file handles": "file descriptors",
    "whitelist": "allow list",
    "blacklist": "deny list",
}
_FOUND: Final = re.compile(
    r"(?<![\w.])(?:" + "|".join(re.escape(word) for word in WORDS) + r")(?!\w)",
    re.IGNORECASE,
)
_CODE: Final = re.compile(
    r"^```.*?^```|`[^`\n]+`|\]\([^)]*\)", re.MULTILINE | re.DOTALL
)
TEXTS: Final = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "waterdrop_py").rglob("*.py")),
    *sorted((ROOT / "examples").rglob("*.py")),
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_words(path: Path) -> None:
    """The text says it plainly; code on the pages is not looked at."""
    text = path.read_text()
    if path.suffix == ".md":
        text = _CODE.sub(lambda found: "\n" * found[0].count("\n"), text)
    found = [
        f"{path.name}:{text.count(chr(10), 0, each.start()) + 1}: "
        f"{each[0]!r}: {WORDS[each[0].lower()]}"
        for each in _FOUND.finditer(text)
    ]
    assert found == []
