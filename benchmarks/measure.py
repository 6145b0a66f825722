"""Rounds in turn, and what is read from them."""

from __future__ import annotations

import gc
import math
import time
from statistics import median
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def alternate(
    rounds: int, ours: Callable[[], T], bare: Callable[[], T]
) -> tuple[list[T], list[T]]:
    """Run both in turn: ours, bare, bare, ours, ours, bare and so on.

    What else the machine does then falls on both, and neither always comes first.
    """
    results: tuple[list[T], list[T]] = ([], [])
    sides = ((results[0], ours), (results[1], bare))
    for number in range(rounds):
        for result, run in sides if number % 2 == 0 else sides[::-1]:
            result.append(run())
    return results


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` from 0 to 1."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median_percentile(rounds: Sequence[Sequence[float]], share: float) -> float:
    """The median over rounds of each round's percentile."""
    return median(percentile(samples, share) for samples in rounds)


def timed_ms(call: Callable[[], object]) -> float:
    """How long `call` takes, in milliseconds."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def messages_per_second(count: int, send: Callable[[], object]) -> float:
    """The rate of `send`, which sends `count` messages; starts with no garbage."""
    gc.collect()
    started = time.perf_counter()
    send()
    return count / (time.perf_counter() - started)


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look every millisecond until `true()`; `TimeoutError` after `seconds`."""
    deadline = time.perf_counter() + seconds
    while not true():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.001)
