"""The figures of `stats()`, added up over all producers of the process by series."""

from __future__ import annotations

from collections.abc import Iterable

from waterdrop_py.listeners._series import Series, series_of
from waterdrop_py.overview import ProducerStats, figures


def read_figures(tag_labels: Iterable[str]) -> dict[Series, ProducerStats]:
    """The figures of all that this process ever made, added up by series.

    Counters never fall. Opens nothing, and is not activity. A forked child starts at
    zero.
    """
    return figures(lambda each: series_of(each.name, dict(each.tags), tag_labels))


def open_clients(stats: ProducerStats) -> int:
    """How many clients are open, by sums of `read_figures`."""
    return stats.opens - sum(stats.disconnects.values())
