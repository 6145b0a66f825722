"""Opens and closes clients many times over, and counts what is left."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from itertools import combinations
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


class Allocated(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


MALLINFO = ctypes.CDLL(None).mallinfo2
MALLINFO.restype = Allocated


def allocated() -> int:
    """Bytes that C has allocated and not freed, in all arenas. What is resident also
    grows with each arena, and a busy machine makes more of them: by up to 1100 bytes a
    cycle."""
    info = MALLINFO()
    return int(info.uordblks + info.hblkhd)


def descriptors() -> int:
    """Open descriptors."""
    return len(os.listdir("/proc/self/fd"))


def slope(points: list[tuple[int, int]]) -> float:
    """Growth per cycle: the median over all pairs (Theil and Sen), which one step of
    the allocator does not move; of 2000 cycles it made least squares say 206."""
    return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))


def main() -> None:
    """Warm up, note, go round, note again."""
    producer = make_producer()
    for _ in range(max(100, CYCLES // 2)):
        cycle(producer)
    gc.collect()
    fds, threads = descriptors(), threading.active_count()
    points, objects = [], []
    for number in range(CYCLES):
        cycle(producer)
        if number % (CYCLES // SAMPLES) == 0:
            gc.collect()
            points.append((number, allocated()))
            objects.append((number, sys.getallocatedblocks()))
    say(fds=descriptors() - fds)
    # A busy machine has more closers at times; they end by themselves.
    say(threads=eventually(lambda: threading.active_count() <= threads))
    say(slope=slope(points), objects=slope(objects), native=library_threads())
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
