"""EventCounts: numbers that no thread loses, by series and labels."""

from __future__ import annotations

from threading import Barrier, Thread

from waterdrop_py.listeners._event_counts import EventCounts
from waterdrop_py.listeners._series import Series

A = Series("a", ())


def test_each_series_and_label_has_its_number() -> None:
    """Numbers add up by series and labels; a forked child begins at zero."""
    counts = EventCounts()
    for _ in range(4):
        counts.add(A, "idle")
    counts.add(Series("", ("x",)), "idle")
    counts.add(A, "topic", "failed")
    assert counts.read() == {
        (A, ("idle",)): 4,
        (Series("", ("x",)), ("idle",)): 1,
        (A, ("topic", "failed")): 1,
    }
    counts.reset()
    assert counts.read() == {}


def test_threads_lose_nothing() -> None:
    """Eight threads that begin a label at the same moment count each event once."""
    counts, barrier = EventCounts(), Barrier(8)

    def count() -> None:
        barrier.wait(5)
        for number in range(2_000):
            counts.add(A, str(number % 50))

    threads = [Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(counts.read().values()) == 16_000
