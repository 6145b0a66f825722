"""Draws the chart: how fast each client is, compared to bare confluent_kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.rows import BARE, OURS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.rows import Row

GREY = "#7d8590"
"""Readable on a white and on a black page; the chart's background is transparent."""
COLOURS = {
    OURS: "#2f81f7",
    "AIOProducer": "#db6d28",
    "aiokafka": "#3fb950",
    "kafka-python": "#a371f7",
}
INCHES_A_ROW = 0.42


def speeds(row: Row) -> dict[str, float]:
    """Each client's speed, where bare has 1. For times, the inverse of the ratio."""
    if not row.bare:
        return {}
    ratios = {OURS: row.ours / row.bare}
    ratios |= {name: figure / row.bare for name, figure in row.others.items()}
    faster_is_more = row.unit.endswith("/s")
    return {name: each if faster_is_more else 1 / each for name, each in ratios.items()}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the chart of the rows that other clients can run too."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shared = [row for row in rows if row.others]
    mpl.rcParams["svg.hashsalt"] = "benchmarks"  # equal rows give equal files
    figure = Figure(figsize=(9, 1.4 + INCHES_A_ROW * len(shared)), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in COLOURS.items():
        points = [
            (speeds(row)[name], place)
            for place, row in enumerate(shared)
            if name in speeds(row)
        ]
        if points:
            across, down = zip(*points, strict=True)
            axes.scatter(across, down, s=55, color=colour, label=name, zorder=3)
    axes.axvline(1, color=GREY, linewidth=1.5, label=BARE)
    axes.set_xscale("log")
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(shared)), [f"{row.name}\n{row.where}" for row in shared])
    axes.set_ylim(len(shared) - 0.5, -0.5)
    axes.set_xlabel(
        "speed, where bare confluent_kafka has 1; right is faster", color=GREY
    )
    axes.tick_params(colors=GREY, labelsize=8)
    axes.grid(axis="x", color=GREY, alpha=0.25)
    axes.spines[:].set_visible(False)
    axes.patch.set_alpha(0)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, labelcolor=GREY)
    figure.savefig(path, transparent=True, metadata={"Date": None})
