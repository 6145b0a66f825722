"""Draws Grafana's board from real data: `python -m benchmarks.board`.

A service runs on the embedded cluster, Prometheus reads it, and each query of the board
is asked and plotted where the board has its panel. Grafana itself is not needed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.scenarios import monitoring
from waterdrop_py.testing import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Sequence

PICTURE: Final = monitoring.ROOT / "docs" / "pictures" / "board.png"
PROGRAM: Final = "tests/scenarios/programs/metrics_service.py"
TOPIC: Final = "board"
SECONDS: Final = 150
STEADY_SECONDS: Final = 60
"""Seconds for which all producers send; afterwards most of them are idle."""
IDLE_MS: Final = 3_000
PAUSE: Final = 6
"""Idle timeouts that most producers are quiet for, between two bursts."""
WINDOW: Final = "10s"
"""What stands for Grafana's own interval."""
COLORS: Final = ("tab:blue", "tab:green", "tab:red", "tab:orange", "tab:purple")
COLUMNS: Final = 24
"""The width of Grafana's grid."""
LONGEST_GAP: Final = 30.0
"""Seconds: the last bucket of the heatmap that is drawn."""


class Line(NamedTuple):
    """The answer to a query: one series, in seconds since the start."""

    name: str
    times: list[float]
    values: list[float]


class Panel(NamedTuple):
    """A panel of the board, as Grafana reads it, and its lines."""

    panel: dict[str, Any]
    lines: list[Line]


def main() -> int:
    """Run the service, read it, and draw the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.board")
    parser.add_argument("--output", type=Path, default=PICTURE)
    output: Path = parser.parse_args().output
    with tempfile.TemporaryDirectory() as folder, EmbeddedCluster() as cluster:
        cluster.create_topic(TOPIC, 3)
        servers = cluster.bootstrap_servers
        words = [servers, TOPIC, SECONDS, IDLE_MS, STEADY_SECONDS, PAUSE]
        command = [sys.executable, PROGRAM, *map(str, words)]
        with subprocess.Popen(
            command,
            cwd=monitoring.ROOT,
            env={"PYTHONPATH": str(monitoring.ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as service:
            assert service.stdout is not None
            port = json.loads(service.stdout.readline())["port"]
            with monitoring.running(port, Path(folder)) as prometheus:
                began = time.time()
                service.wait(SECONDS + 30)
                answers = _ask(prometheus, began + 6, began + SECONDS - 2)
    output.parent.mkdir(exist_ok=True)
    _draw(answers, output)
    print(f"written: {output}")
    return 0


def _ask(prometheus: monitoring.Prometheus, start: float, end: float) -> list[Panel]:
    """Each panel, with the lines of its queries."""
    answers = []
    for panel in monitoring.board()["panels"]:
        lines = []
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", WINDOW)
            for series in prometheus.query_range(query, start, end, 1.0):
                name = target["legendFormat"]
                for label, text in series["metric"].items():
                    name = name.replace(f"{{{{{label}}}}}", text)
                times = [at - start for at, _ in series["values"]]
                lines.append(Line(name, times, [float(v) for _, v in series["values"]]))
        answers.append(Panel(panel, lines))
    return answers


def _draw(answers: Sequence[Panel], output: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p, _ in answers)
    figure = pyplot.figure(figsize=(16, height * 0.42), dpi=80)
    for panel, lines in answers:
        place = panel["gridPos"]
        axes = figure.add_axes(
            (
                (place["x"] + 0.9) / COLUMNS,
                1 - (place["y"] + place["h"] - 1.3) / height,
                (place["w"] - 1.7) / COLUMNS,
                (place["h"] - 2.6) / height,
            )
        )
        axes.set_title(panel["title"], fontsize=11, loc="left", fontweight="bold")
        axes.tick_params(labelsize=8)
        if panel["type"] == "stat":
            _stat(axes, lines, panel)
        elif panel["type"] == "heatmap":
            _heatmap(axes, lines)
        else:
            _lines(axes, lines, panel)
    figure.savefig(output)


def _stat(axes: Any, lines: Sequence[Line], panel: dict[str, Any]) -> None:
    axes.axis("off")
    [(_, times, values)] = lines
    last = values[-1]
    percent = panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
    text = f"{last:.0%}" if percent else f"{last:.3g}"
    axes.plot(times, values, color="tab:green", alpha=0.3)
    axes.fill_between(times, values, color="tab:green", alpha=0.1)
    axes.text(0.5, 0.5, text, fontsize=30, ha="center", transform=axes.transAxes)
    axes.set_ylim(bottom=0)


def _lines(axes: Any, lines: Sequence[Line], panel: dict[str, Any]) -> None:
    """Lines on the left axis, and on the right one what the panel has there."""
    right = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each == {"id": "custom.axisPlacement", "value": "right"}
    }
    other = axes.twinx() if right else axes
    handles = []
    for line, color in zip(lines, cycle(COLORS), strict=False):
        on = other if line.name in right else axes
        handles += on.plot(
            line.times,
            line.values,
            label=line.name,
            color=color,
            drawstyle="steps-post" if right and on is axes else "default",
        )
        if right and on is axes:
            on.fill_between(line.times, line.values, step="post", alpha=0.25)
    for each in {axes, other}:
        each.set_ylim(bottom=0)
        each.tick_params(labelsize=8)
    if right:
        axes.set_ylabel(lines[0].name, fontsize=9, color=COLORS[0])
        other.set_ylabel(lines[1].name, fontsize=9, color=COLORS[1])
    axes.legend(handles=handles, fontsize=8, loc="best", ncol=2, framealpha=0.6)
    axes.grid(alpha=0.3)


def _heatmap(axes: Any, lines: Sequence[Line]) -> None:
    """Darker where more gaps ended, by the edges of the buckets."""
    by_edge = sorted((float(line.name), line) for line in lines)
    used = [(edge, line) for edge, line in by_edge if edge <= LONGEST_GAP]
    rows, before = [], [0.0] * len(used[0][1].values)
    for _, line in used:
        more = zip(line.values, before, strict=True)
        rows.append([now - then for now, then in more])
        before = line.values
    extent = (0, used[0][1].times[-1], 0, len(used))
    axes.imshow(
        rows,
        aspect="auto",
        origin="lower",
        cmap="Greens",
        extent=extent,
        interpolation="nearest",
    )
    edges = [f"{edge:g} s" for edge, _ in used]
    axes.set_yticks([number + 1 for number in range(len(used))], edges)


if __name__ == "__main__":
    sys.exit(main())
