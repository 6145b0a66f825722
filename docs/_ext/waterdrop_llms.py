"""Writes llms.txt: one line a page, for readers that are programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

HEAD = """\
# waterdrop_py

> A Kafka producer on top of confluent-kafka. While it is idle, its client is closed:
> every socket, thread and descriptor. The next send opens a new one.

Each page is listed with its source in Markdown, which is shorter than the HTML.
"""


def write(app: Sphinx, failure: Exception | None) -> None:
    """Write the list of pages, in the order of the site."""
    if failure is not None or app.builder.name != "html":
        return
    lines = [HEAD]
    for section, pages in _sections(app):
        lines.append(f"\n## {section}\n")
        lines += [_line(app, page) for page in pages]
    (Path(app.outdir) / "llms.txt").write_text("\n".join(lines) + "\n")


def _sections(app: Sphinx) -> Iterator[tuple[str, list[str]]]:
    children = app.env.toctree_includes
    root = app.config.root_doc
    for section in children.get(root, ()):
        yield _title(app, section), [section, *children.get(section, ())]


def _title(app: Sphinx, page: str) -> str:
    return str(app.env.titles[page].astext())


def _line(app: Sphinx, page: str) -> str:
    first = next(iter(app.env.get_doctree(page).findall(nodes.paragraph)), None)
    summary = "" if first is None else ": " + " ".join(first.astext().split())
    address = f"{app.config.html_baseurl}_sources/{page}.md.txt"
    return f"- [{_title(app, page)}]({address}){summary}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the file at the end of a build; Sphinx calls it."""
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
