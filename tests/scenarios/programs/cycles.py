"""Opens and closes clients many times over, and counts what is left."""

from __future__ import annotations

import gc
import os
import threading
from itertools import combinations
from pathlib import Path
from statistics import median

from tests.scenarios.kit import (
    TOPIC,
    WORDS,
    eventually,
    library_threads,
    make_producer,
    say,
)

CYCLES = int(WORDS[0])
SAMPLES = 20


def rss() -> int:
    """Bytes of memory that are resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Open descriptors."""
    return len(os.listdir("/proc/self/fd"))


def slope(points: list[tuple[int, int]]) -> float:
    """Bytes a cycle: the median over all pairs (Theil and Sen), which one step of the
    allocator does not move; of 2000 cycles it made least squares say 206."""
    return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))


def main() -> None:
    """Warm up, note, go round, note again."""
    producer = make_producer()
    for _ in range(max(100, CYCLES // 4)):
        cycle(producer)
    gc.collect()
    fds, threads = descriptors(), threading.active_count()
    points = []
    for number in range(CYCLES):
        cycle(producer)
        if number % (CYCLES // SAMPLES) == 0:
            gc.collect()
            points.append((number, rss()))
    say(fds=descriptors() - fds, threads=threading.active_count() - threads)
    say(slope=slope(points), native=library_threads())
    producer.close(5)
    gone = eventually(
        lambda: not [t for t in threading.enumerate() if "waterdrop" in t.name], 10
    )
    say(gone=gone, left=[t.name for t in threading.enumerate()])


def cycle(producer: object) -> None:
    """One open, one message, one close."""
    producer.produce_sync(TOPIC, b"x")  # type: ignore[attr-defined]
    assert producer.disconnect()  # type: ignore[attr-defined]


main()
