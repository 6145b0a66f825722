"""Every benchmark by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import (
    blackhole,
    deadlines,
    footprint,
    hammer,
    latency,
    surface,
    throughput,
)
from benchmarks.isolation import isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.rows import Row
    from benchmarks.setting import Setting

USUAL_SECONDS = 300.0


class Benchmark(NamedTuple):
    """What measures some rows.

    Attributes:
        divided: it starts processes of its own, and disturbs nobody itself.
    """

    run: Callable[[Setting], list[Row]]
    divided: bool = False

    def rows(self, setting: Setting) -> list[Row]:
        """Measure, in a process of its own; raises `isolation.FailedError`."""
        if self.divided:
            return self.run(setting)
        return isolated(self.run, setting, seconds=USUAL_SECONDS)


BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "first-delivery": Benchmark(latency.first_delivery),
    "produce-sync": Benchmark(latency.produce_sync),
    "produce-async": Benchmark(throughput.one_thread),
    "produce-async-8": Benchmark(throughput.eight_threads),
    "produce-async-kept": Benchmark(throughput.kept),
    "produce-many": Benchmark(surface.produce_many),
    "buffered-flush": Benchmark(surface.buffered_flush),
    "transaction": Benchmark(surface.transaction),
    "due-1": Benchmark(deadlines.one),
    "due-100": Benchmark(deadlines.hundred),
    "due-1000": Benchmark(deadlines.thousand),
    "disconnected": Benchmark(footprint.disconnected),
    "memory": Benchmark(footprint.memory),
    "idle-disconnected": Benchmark(footprint.idle_disconnected),
    "idle-connected": Benchmark(footprint.idle_connected, divided=True),
    "black-hole": Benchmark(blackhole.run),
    "hammer": Benchmark(hammer.run),
}
