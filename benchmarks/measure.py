"""Runs contenders in turn, and computes rates, times and percentiles."""

from __future__ import annotations

import gc
import math
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")


def interleave(
    rounds: int, contenders: Mapping[str, Callable[[], T]]
) -> dict[str, list[T]]:
    """Run all in turn, in reverse order every second round: A B C, C B A and so on.

    So other load on the machine falls on each of them, and none is always first.
    """
    results: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            results[name].append(contenders[name]())
    return results


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` from 0 to 1."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def timed_ms(call: Callable[[], object]) -> float:
    """How long `call` takes, in milliseconds."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def messages_per_second(count: int, send: Callable[[], object]) -> float:
    """The rate of `send`, which sends `count` messages; collects garbage before."""
    gc.collect()
    started = time.perf_counter()
    send()
    return count / (time.perf_counter() - started)


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Call `true` every millisecond until it holds; `TimeoutError` after `seconds`."""
    deadline = time.perf_counter() + seconds
    while not true():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.001)
