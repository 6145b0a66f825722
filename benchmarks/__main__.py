"""Runs `python -m benchmarks`: measures, prints the rows, and writes them to a file."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.isolation import FailedError
from benchmarks.process import allow_descriptors, versions
from benchmarks.report import line
from benchmarks.results import Results, save
from benchmarks.rows import HEADER
from benchmarks.setting import Setting, embedded
from benchmarks.suite import BENCHMARKS
from waterdrop_py.testing import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.rows import Row


class Task(NamedTuple):
    """A benchmark by name, and the broker and time to run it with."""

    name: str
    setting: Setting


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the arguments choose.

    Returns 1 if a benchmark failed, else 0. A row that misses its must is not a
    failure: a benchmark measures and does not judge.
    """
    asked = _parser().parse_args(arguments)
    started = time.perf_counter()
    allow_descriptors()
    print(", ".join(f"{name} {value}" for name, value in versions()))
    with ExitStack() as stack:
        tasks = _tasks(asked, stack)
        rows, failures = _measure(tasks)
    _summarise(rows, failures, time.perf_counter() - started)
    if asked.output is not None:
        save(Results.of(rows), asked.output)
        print(f"written: {asked.output}")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare with bare confluent_kafka and other clients.",
    )
    parser.add_argument("--quick", action="store_true", help="shorter and less certain")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(BENCHMARKS),
        metavar="NAME",
        help=f"run this one; repeatable. One of {', '.join(BENCHMARKS)}",
    )
    parser.add_argument(
        "--matrix",
        action="store_true",
        help="only those that are compared between Pythons",
    )
    parser.add_argument(
        "--kafka",
        action="store_true",
        help="also on a real Kafka: plaintext, and TLS with SCRAM (Java 17 and Maven)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="the file to write the results to, for benchmarks.page",
    )
    return parser


def _tasks(asked: argparse.Namespace, stack: ExitStack) -> Iterable[Task]:
    chosen = {
        name: benchmark
        for name, benchmark in BENCHMARKS.items()
        if name in (asked.only or BENCHMARKS) and (benchmark.matrix or not asked.matrix)
    }
    cluster = stack.enter_context(EmbeddedCluster())
    setting = Setting(embedded(cluster.bootstrap_servers), asked.quick)
    yield from (Task(name, setting) for name in chosen)
    if not asked.kafka:
        return
    from benchmarks.real import listeners

    for broker in stack.enter_context(listeners()):
        setting = Setting(broker, asked.quick)
        yield from (Task(name, setting) for name, each in chosen.items() if each.real)


def _measure(tasks: Iterable[Task]) -> tuple[list[Row], dict[str, str]]:
    rows: list[Row] = []
    failures: dict[str, str] = {}
    where = ""
    for name, setting in tasks:
        if where != setting.broker.name:
            where = setting.broker.name
            print(f"-- {where}")
            print(line(HEADER))
        started = time.perf_counter()
        try:
            measured = BENCHMARKS[name].rows(setting)
        except FailedError as error:
            failures[f"{name}, {where}"] = str(error)
            print(f"{name} FAILED: {error}", flush=True)
            continue
        rows += measured
        _print(measured)
        print(f"    {name}: {time.perf_counter() - started:.1f} s", flush=True)
    return rows, failures


def _print(rows: Sequence[Row]) -> None:
    for row in rows:
        print(line(row.cells()))
        for client, figure in row.comparisons():
            print(f"    {client}: {figure}")
        if row.note:
            print(f"    {row.note}")


def _summarise(rows: list[Row], failures: dict[str, str], seconds: float) -> None:
    missed = [row for row in rows if not row.met]
    print(f"{len(rows)} rows in {seconds:.0f} s, {len(missed)} missed")
    for row in missed:
        print(f"  missed: {row.name} (must: {row.must})")
    for name in failures:
        print(f"  not measured: {name}")


if __name__ == "__main__":
    sys.exit(main())
