"""Measures what precedes the first message: the import, and making a producer."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.rows import Row, absolute, at_least, at_most
from waterdrop_py import Config, Producer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.setting import Setting

IMPORT = """
import time
import confluent_kafka
started = time.perf_counter()
import waterdrop_py
print((time.perf_counter() - started) * 1000)
"""
SCRIPT_SECONDS = 30.0


def importing(setting: Setting) -> list[Row]:
    """Time of `import waterdrop_py` after `import confluent_kafka`."""
    rounds = setting.pick(31, 7)
    _import_ms()  # writes the bytecode files
    return [
        absolute(
            "import waterdrop_py beyond import confluent_kafka",
            median(_import_ms() for _ in range(rounds)),
            unit="ms",
            n=rounds,
            must=at_most(120.0),
            aim=at_most(70.0),
            note="in a fresh interpreter, its byte code written before",
        )
    ]


def construction(setting: Setting) -> list[Row]:
    """Rate of `Producer(...)` from options, and from a `Config` that exists already."""
    count = setting.pick(2_000, 500)
    rounds = 5
    options = {
        "kafka": dict(setting.broker.properties),
        "idle_disconnect_timeout": "5m",
    }
    config = Config(**options)  # type: ignore[arg-type]
    fresh = median(_per_second(lambda: Producer(options), count) for _ in range(rounds))
    ready = median(_per_second(lambda: Producer(config), count) for _ in range(rounds))
    return [
        absolute(
            f"Producer(...) constructions, {name}",
            figure,
            unit="/s",
            n=rounds * count,
            must=at_least(2_000),
            aim=at_least(10_000),
        )
        for name, figure in (("from options", fresh), ("from a Config", ready))
    ]


def _import_ms() -> float:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        capture_output=True,
        check=True,
        # Set to nothing it counts as not set: the first run writes the bytecode.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        text=True,
        timeout=SCRIPT_SECONDS,
    )
    return float(done.stdout)


def _per_second(construct: Callable[[], Producer], count: int) -> float:
    gc.collect()
    started = time.perf_counter()
    producers = [construct() for _ in range(count)]
    took = time.perf_counter() - started
    del producers
    return count / took
