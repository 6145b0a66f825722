"""`python -m benchmarks`: measure, print, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.isolation import FailedError
from benchmarks.process import allow_descriptors, versions
from benchmarks.report import line, markdown
from benchmarks.rows import HEADER
from benchmarks.setting import Setting
from benchmarks.suite import BENCHMARKS
from waterdrop_py.testing import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.rows import Row

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are asked for.

    Returns 0 also when a row misses its bound, because this measures and does not
    judge; 1 when a benchmark could not be carried out.
    """
    asked = _parser().parse_args(arguments)
    names = asked.only or list(BENCHMARKS)
    started = time.perf_counter()
    allow_descriptors()
    print(", ".join(f"{name} {value}" for name, value in versions()))
    with EmbeddedCluster() as cluster:
        setting = Setting(cluster.bootstrap_servers, asked.quick)
        rows, failures = _measure(names, setting)
    _summarise(rows, failures, time.perf_counter() - started)
    if asked.output is None and not (asked.quick or asked.only or failures):
        asked.output = PAGE
    if asked.output is not None:
        command = "make bench-quick" if asked.quick else "make bench"
        asked.output.write_text(markdown(rows, command))
        print(f"written: {asked.output}")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the library against bare confluent_kafka. A whole run "
        f"writes docs/{PAGE.name}.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="less than 2 minutes, less certain"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(BENCHMARKS),
        metavar="NAME",
        help=f"this one; may be given again. One of {', '.join(BENCHMARKS)}",
    )
    parser.add_argument("--output", type=Path, help="write the table here, in Markdown")
    return parser


def _measure(
    names: Sequence[str], setting: Setting
) -> tuple[list[Row], dict[str, str]]:
    rows: list[Row] = []
    failures: dict[str, str] = {}
    print(line(HEADER))
    for name in names:
        try:
            measured = BENCHMARKS[name].rows(setting)
        except FailedError as error:
            failures[name] = str(error)
            print(f"{name} FAILED: {error}", flush=True)
            continue
        rows += measured
        for row in measured:
            print(line(row.cells()), flush=True)
            if row.note:
                print(f"    {row.note}", flush=True)
    return rows, failures


def _summarise(rows: list[Row], failures: dict[str, str], seconds: float) -> None:
    missed = [row for row in rows if not row.met]
    print(f"{len(rows)} rows in {seconds:.0f} s, {len(missed)} missed")
    for row in missed:
        print(f"  missed: {row.name} (bound: {row.bound})")
    for name in failures:
        print(f"  not measured: {name}")


if __name__ == "__main__":
    sys.exit(main())
