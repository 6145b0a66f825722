"""Saves the results of a run to a file, and loads them for the page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from benchmarks.process import versions
from benchmarks.rows import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Results:
    """The rows of a run, and the versions that they were measured with."""

    facts: dict[str, str]
    rows: list[Row]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Results:
        """The results of this process, with today's date."""
        today = datetime.now(timezone.utc).date().isoformat()
        return cls({**dict(versions()), "date": today}, list(rows))


def save(results: Results, path: Path) -> None:
    """Write the results as JSON, and create the folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(results), indent=1))


def load(path: Path) -> Results:
    """Read what `save` wrote."""
    content = json.loads(path.read_text())
    return Results(content["facts"], [_row(each) for each in content["rows"]])


def _row(fields: dict[str, Any]) -> Row:
    for name in ("must", "aim"):
        fields[name] = Bound(*fields[name]) if fields[name] else None
    fields["spread"] = tuple(fields["spread"]) if fields["spread"] else None
    return Row(**fields)
