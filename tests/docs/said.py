"""The messages on the troubleshooting page, and how one is compared with a real one.

A message is a `text` block whose `:name:` begins with `said-`. On the page,
`broker:9092` stands for any address, `waterdrop-1a2b3c4d5e6f` for any producer's id,
`0ms` for any duration, and `...` for any text within a line. A block may be a part of
what was said, but only whole lines of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.docs.blocks import read_page
from tests.docs.running import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = ROOT / "docs" / "troubleshooting.md"
_PREFIX: Final = "said-"
_STANDS_FOR: Final = {
    "broker:9092": r"[\w.\-:,]+",
    "waterdrop-1a2b3c4d5e6f": r"waterdrop-[0-9a-f]{12}",
    "after 0ms": r"after \d+ms",
    "ipv4#": r"ipv[46]#",
    "partition 2:": r"partition \d+:",
    "...": r"[^\n]*",
}
_TOKENS: Final = re.compile("|".join(map(re.escape, _STANDS_FOR)))


def documented() -> dict[str, str]:
    """Every message on the page, by its name."""
    return {
        block.options["name"].removeprefix(_PREFIX): block.text.strip("\n")
        for block in read_page(PAGE).blocks
        if block.options.get("name", "").startswith(_PREFIX)
    }


def is_said(message: str, text: str) -> bool:
    """Whether `text` has all lines of the documented `message`, one after another."""
    pattern, end = "", 0
    for token in _TOKENS.finditer(message):
        pattern += re.escape(message[end : token.start()]) + _STANDS_FOR[token[0]]
        end = token.end()
    pattern += re.escape(message[end:])
    return re.search(f"^{pattern}$", text, re.MULTILINE) is not None


def raised_by(call: Callable[[], object]) -> str:
    """What Python prints of the error that `call` raises: its class and its text."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the page says which
        return f"{type(error).__name__}: {error}"
    raise AssertionError("nothing was raised")
