"""Finds the code blocks of a page, and what their marks say.

A page may contain these:

- ```` ```python ````: run, in one namespace per page; or, if it starts with `>>>`, a
  doctest.
- In such a block, lines `# -> text` are what it prints.
- ```` ```output ````: what the block of Python before it has printed.
- ```` ```console ````: commands; those of ours are run and their output is compared.
- ```` ```{code-block} python ```` with `:caption: NAME.py`: a file, for the commands of
  console blocks.
- `<!-- skip: "reason" -->`: the next block is not run.
- `<!-- hidden` ... `-->`: Python that is run, and that a reader does not see.
- `broker: real` between the two `---` at the top: the page needs a real broker, and
  `make test-kafka` runs it.

An `...` in an output stands for any text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sybil import Document, Region
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_INFO = re.compile(
    r"(?:\{(?:code-block|code)\} ?(?P<directive>[\w+-]+)|(?P<plain>[\w+-]+))[ \t]*\n"
    r"(?P<options>(?:[ \t]*:[\w-]+:[^\n]*\n)*)"
)
_OPTION = re.compile(r":([\w-]+):[ \t]*([^\n]*)")
_COMMENT = re.compile(r"<!--+[ \t]*(?P<word>hidden|skip)\b(?P<rest>.*?)--+>", re.DOTALL)
_REASON = re.compile(r'\A:\s*"([^"]{5,})"\s*\Z', re.DOTALL)
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


@dataclass
class Block:
    """A code block: its language, its text, and the line on which that begins."""

    language: str
    text: str
    line: int
    options: dict[str, str] = field(default_factory=dict)
    skipped: str | None = None

    @property
    def file(self) -> str | None:
        """The name of the file that the block shows, or None."""
        return self.options.get("caption") or None


@dataclass
class Page:
    """A page with its blocks, in order."""

    path: Path
    blocks: list[Block]
    needs_broker: bool


def read_page(path: Path) -> Page:
    """Read a page of Markdown."""
    document = Document.parse(str(path), _fences, _comments)
    blocks: list[Block] = []
    reason: str | None = None
    for example in document.examples():
        found: Any = example.parsed
        if isinstance(found, str):
            reason = found
            continue
        found.line += example.line
        found.skipped, reason = reason, None
        blocks.append(found)
    if reason is not None:
        raise ValueError(f"{path}: a skip without a block behind it")
    front = _FRONT.match(document.text)
    needs_broker = front is not None and "broker: real" in front[1].splitlines()
    return Page(path, blocks, needs_broker)


def _fences(document: Document) -> Iterator[Region]:
    for lexed in RawFencedCodeBlockLexer(_INFO)(document):
        lexemes = lexed.lexemes
        options = dict(_OPTION.findall(lexemes["options"] or ""))
        source = lexemes["source"]
        head = document.text[lexed.start : lexed.start + source.offset]
        block = Block(
            lexemes["directive"] or lexemes["plain"],
            str(source),
            head.count("\n"),
            options,
        )
        yield Region(lexed.start, lexed.end, block, _never)


def _comments(document: Document) -> Iterator[Region]:
    for found in _COMMENT.finditer(document.text):
        rest = found["rest"]
        parsed: object
        if found["word"] == "hidden":
            parsed = Block("python", rest.partition("\n")[2], 1)
        else:
            reason = _REASON.match(rest)
            if reason is None:
                line = document.line_column(found.start())
                raise ValueError(f"{document.path}, {line}: a skip needs a reason")
            parsed = reason[1]
        yield Region(found.start(), found.end(), parsed, _never)


def _never(_: object) -> None:
    raise AssertionError("blocks are run by tests.docs.running")
