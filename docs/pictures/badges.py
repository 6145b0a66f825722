"""Badges that need no service: the Pythons, the types, the licence."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from docs.pictures.svg import HERE

_PROJECT: Final = (HERE.parents[1] / "pyproject.toml").read_text()
_WIDE: Final = 6.6


def _field(pattern: str) -> str:
    found = re.search(pattern, _PROJECT, re.MULTILINE)
    assert found is not None, pattern
    return found[1]


def badges() -> dict[str, tuple[str, str]]:
    """The two halves of each badge."""
    return {
        "badge-python": ("python", _field(r'^requires-python = ">=([\d.]+)"') + "+"),
        "badge-types": ("types", "mypy strict" if "strict = true" in _PROJECT else "?"),
        "badge-licence": ("licence", _field(r'^license = "(.+)"')),
    }


def svg(name: str, value: str) -> str:
    """A badge: grey and teal, readable on any page."""
    left, right = (len(text) * _WIDE + 14 for text in (name, value))
    whole = left + right
    words = "\n".join(
        f'<text x="{middle:.1f}" y="14" text-anchor="middle">{escape(text)}</text>'
        for middle, text in ((left / 2, name), (left + right / 2, value))
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{whole:.0f}" height="20" role="img">
<title>{escape(name)}: {escape(value)}</title>
<clipPath id="c"><rect width="{whole:.0f}" height="20" rx="3"/></clipPath>
<g clip-path="url(#c)">
<rect width="{left:.0f}" height="20" fill="#4b5563"/>
<rect x="{left:.0f}" width="{right:.0f}" height="20" fill="#0b7285"/>
</g>
<g fill="#fff" font-family="Verdana, 'DejaVu Sans', sans-serif" font-size="11">
{words}
</g>
</svg>
"""


def save() -> None:
    """Write all badges."""
    for file, (name, value) in badges().items():
        (HERE / f"{file}.svg").write_text(svg(name, value))
