"""Makes the rows of a figure that is compared with several clients, one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.rows import BARE, OURS, Bound, Row, compared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Beside(NamedTuple):
    """What a figure is compared with, and the bounds for the ratio."""

    client: str
    must: Bound | None = None
    aim: Bound | None = None


def rows(
    name: str,
    rounds: Mapping[str, Sequence[float]],
    besides: Sequence[Beside],
    *,
    unit: str,
    n: int,
    note: str,
) -> list[Row]:
    """A row for each of `besides`, whose figure takes the column of bare."""
    return [
        compared(
            f"{name}, beside {client}",
            {OURS: rounds[OURS], BARE: rounds[client]},
            unit=unit,
            n=n,
            must=must,
            aim=aim,
            note=f"bare: {client}. {note}",
        )
        for client, must, aim in besides
    ]
