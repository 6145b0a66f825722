"""Formats the tables, for the terminal and in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.rows import BARE, HEADER, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Results
    from benchmarks.rows import Row

WIDTHS = (66, 15, 15, 7, 13, 9, 9, 7, 6)
INTRODUCTION = """\
# Benchmarks

What the library costs and gains, compared to a bare `confluent_kafka.Producer` and to
other clients. All do the same work in the same run on the same cluster. A ratio is a
figure divided by bare's; 1 is as fast as bare. Of rates (msg/s) more is better, of
times less. "ratio" is that of the medians; "middle half" is where half of the rounds'
ratios lie. "must" is what the project requires of itself, "aim" what it would like.

- All take turns in one process, round by round, in reverse order every second round.
- All have the same settings: `acks=all`, no idempotence, no compression. Bare and
  `AIOProducer` also have the properties that the library sets by default
  (`socket.nagle.disable` and others). Latencies are measured with `linger.ms=0`, rates
  with librdkafka's default of 5 ms and its batch size. aiokafka and kafka-python have
  both too. `AIOProducer` keeps its own batching. For latencies each of its messages is
  followed by `flush()`, because it polls for reports only about once a second.
- The embedded cluster is librdkafka's mock: 3 brokers, loopback, plaintext, in its own
  process. kafka-python does not start on it. The asyncio clients have no row with
  threads, and `AIOProducer` none with headers, which it refuses.
- The rows of tasks compare inside asyncio, with what each row names in the column
  "bare". Each client has a loop of its own, which runs while it is measured. "By hand"
  is a bare client, a polling thread, and a future for each message that
  `call_soon_threadsafe` resolves. What `AIOProducer` sent is followed by one `flush()`.
- The rows of leases compare pools: "bare" is what the row names, on the same machine in
  the same process, without a server. psycopg_pool has stub connections.
- Ratios carry over to other machines better than figures do.
"""


def line(cells: Sequence[str]) -> str:
    """One line of the table on the terminal."""
    padded = (cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    return " ".join(padded).rstrip()


def markdown(runs: Sequence[Results], command: str, plot: str) -> str:
    """The page: all of the first run, then the ratios of all runs side by side."""
    first = runs[0]
    facts = [*first.facts.items(), ("command", f"`{command}`")]
    blocks = [
        INTRODUCTION,
        "\n".join(f"- {name}: {value}" for name, value in facts),
        f"![Ratios to bare confluent_kafka, of every client]({plot})",
    ]
    for where in dict.fromkeys(row.where for row in first.rows):
        rows = [row for row in first.rows if row.where == where]
        blocks += [f"## On: {where}", _table(HEADER, [row.cells() for row in rows])]
        blocks += _others(rows)
        blocks.append(
            "\n".join(f"- {row.name}: {row.note}" for row in rows if row.note)
        )
    if len(runs) > 1:
        blocks += _pythons(runs)
    return "\n\n".join(block.strip() for block in blocks if block) + "\n"


def _others(rows: Sequence[Row]) -> list[str]:
    """The table of every client's ratio to bare."""
    clients = list(dict.fromkeys(name for row in rows for name in row.others))
    shared = [row for row in rows if row.others]
    if not shared:
        return []
    cells = [
        [row.name, row.unit, _ratio(row, row.ours), "1"]
        + [_ratio(row, row.others.get(name)) for name in clients]
        for row in shared
    ]
    header = ["ratio to bare", "of", "waterdrop_py", BARE, *clients]
    return ["### Compared to other clients", _table(header, cells)]


def _pythons(runs: Sequence[Results]) -> list[str]:
    names = [run.facts["Python"] for run in runs]
    figures = [{(row.where, row.name): row for row in run.rows} for run in runs]
    common = [key for key in figures[0] if all(key in each for each in figures)]
    cells = [[key[1], *(_judged(each[key]) for each in figures)] for key in common]
    caption = (
        "Ratios to bare, or figures if a row has no ratio. The first column is the run "
        "above; the others are shorter runs. **Bold** misses its must."
    )
    return ["## Pythons side by side", caption, _table(["what", *names], cells)]


def _judged(row: Row) -> str:
    ratio = row.ratio
    figure = f"{shown(row.ours)} {row.unit}" if ratio is None else shown(ratio)
    return figure if row.met else f"**{figure}**"


def _ratio(row: Row, figure: float | None) -> str:
    return shown(figure / row.bare) if figure is not None and row.bare else "-"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
