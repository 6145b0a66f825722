"""Lists every benchmark by name; a new benchmark is a row here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import (
    batches,
    beginnings,
    blackhole,
    deadlines,
    footprint,
    hammer,
    latency,
    leases,
    listeners,
    pools,
    scattered,
    throughput,
    transactions,
    unused,
    waking,
)
from benchmarks.isolation import isolated
from benchmarks.tasks import lag
from benchmarks.tasks import latency as task_latency
from benchmarks.tasks import rates as task_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.rows import Row
    from benchmarks.setting import Setting

USUAL_SECONDS = 300.0
"""Seconds after which the process of a benchmark is killed."""


class Benchmark(NamedTuple):
    """A function that measures some rows.

    Attributes:
        divided: whether it starts its own processes, and so needs none for itself.
        real: whether it is also run on a real Kafka.
        matrix: whether its rows are compared between Pythons.
    """

    run: Callable[[Setting], list[Row]]
    divided: bool = False
    real: bool = False
    matrix: bool = False

    def rows(self, setting: Setting) -> list[Row]:
        """Measure in a separate process; raises `isolation.FailedError`."""
        if self.divided:
            rows = self.run(setting)
        else:
            rows = isolated(self.run, setting, seconds=USUAL_SECONDS)
        return [replace(row, where=setting.broker.name) for row in rows]


def _everywhere(run: Callable[[Setting], list[Row]]) -> Benchmark:
    return Benchmark(run, real=True, matrix=True)


BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "first-delivery": _everywhere(waking.first_delivery),
    "produce-sync": _everywhere(latency.produce_sync),
    "produce-async": _everywhere(throughput.one_thread),
    "produce-async-8": _everywhere(throughput.eight_threads),
    "produce-async-kept": _everywhere(throughput.kept),
    "produce-async-keyed": _everywhere(throughput.keyed),
    "produce-many": _everywhere(batches.produce_many),
    "buffered-flush": Benchmark(batches.buffered_flush, matrix=True),
    "transaction": Benchmark(transactions.transaction, matrix=True),
    "listeners": Benchmark(listeners.attached, matrix=True),
    "unused": Benchmark(unused.run),
    "scattered": Benchmark(scattered.run, divided=True),
    "construction": Benchmark(beginnings.construction, matrix=True),
    "import": Benchmark(beginnings.importing, matrix=True),
    "due-1": Benchmark(deadlines.one),
    "due-100": Benchmark(deadlines.hundred),
    "due-1000": Benchmark(deadlines.thousand),
    "disconnected": Benchmark(footprint.disconnected),
    "memory": Benchmark(footprint.memory),
    "idle-disconnected": Benchmark(footprint.idle_disconnected),
    "idle-connected": Benchmark(footprint.idle_connected, divided=True),
    "lease": Benchmark(leases.uncontended, matrix=True),
    "leases-8": Benchmark(leases.contended),
    "pools-memory": Benchmark(pools.memory),
    "pools-left": Benchmark(pools.left),
    "task-produce-one": _everywhere(task_latency.produce_one),
    "task-100-tasks": _everywhere(task_rates.hundred_tasks),
    "task-gathered": _everywhere(task_rates.gathered),
    "task-sent": _everywhere(task_rates.sent),
    "task-sent-keyed": Benchmark(task_rates.keyed, real=True),
    "task-produce-many": Benchmark(task_rates.produce_many, real=True),
    "task-full-queue": Benchmark(task_rates.full_queue, real=True),
    "task-first-produce": Benchmark(task_latency.first_produce, real=True),
    "task-lag-open": Benchmark(lag.opening, real=True),
    "task-lag-send": Benchmark(lag.sending, real=True),
    "black-hole": Benchmark(blackhole.run),
    "hammer": Benchmark(hammer.run),
}
