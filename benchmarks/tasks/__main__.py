"""Runs `python -m benchmarks.tasks`: the benchmarks of this folder alone."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks.__main__ import main as measure
from benchmarks.suite import BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "task-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run those that the arguments choose; see `benchmarks.__main__.main`."""
    names = [name[len(PREFIX) :] for name in BENCHMARKS if name.startswith(PREFIX)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks")
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--full", action="store_true", help="as long as `make bench`")
    parser.add_argument("--kafka", action="store_true", help="also on a real Kafka")
    asked = parser.parse_args(arguments)
    chosen = [f"--only={PREFIX}{name}" for name in asked.only or names]
    flags = [] if asked.full else ["--quick"]
    return measure([*chosen, *flags, *(["--kafka"] if asked.kafka else [])])


if __name__ == "__main__":
    sys.exit(main())
