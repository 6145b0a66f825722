"""The table, on the terminal and in Markdown."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from benchmarks.process import versions
from benchmarks.rows import HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.rows import Row

WIDTHS = (58, 17, 17, 8, 20, 4, 6)
INTRODUCTION = """\
# Benchmarks

What the library costs and gains, beside a bare `confluent_kafka.Producer` that does
the same work in the same run on the same embedded cluster (3 brokers, loopback,
plaintext, in a process of its own). The two take turns, and bare has the properties
that the library sets by default (`socket.nagle.disable` and the like). Figures are
medians of rounds unless the row says otherwise; latencies are with `linger.ms=0`,
rates with librdkafka's default. Ratios carry over to other machines better than
figures do.
"""


def line(cells: Sequence[str]) -> str:
    """One line of the table on the terminal."""
    padded = (cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    return " ".join(padded).rstrip()


def markdown(rows: Sequence[Row], command: str) -> str:
    """The whole page."""
    today = datetime.now(timezone.utc).date().isoformat()
    facts = [*versions(), ("date", today), ("command", f"`{command}`")]
    table = [_columns(HEADER), _columns(["---"] * len(HEADER))]
    table += [_columns(row.cells()) for row in rows]
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    measured = [f"- {name}: {value}" for name, value in facts]
    blocks = [INTRODUCTION, "\n".join(measured), "\n".join(table), "\n".join(notes)]
    return "\n".join([blocks[0], "\n\n".join(blocks[1:]), ""])


def _columns(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
