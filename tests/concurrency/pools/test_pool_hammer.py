"""Sixteen threads on one pool, with a thread switch every microsecond."""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.pools.support import whole_again
from tests.doubles import Run, eventually
from tests.unit.pools.support import Cluster, config
from waterdrop_py.errors import PoolError, PoolExhaustedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import ProducerPool

SECONDS = 1.0
THREADS = 16


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    """Threads switch as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def work(pool: ProducerPool, seed: int, until: float, sent: list[int]) -> None:
    """Leases with messages, with and without a wait."""
    chance = random.Random(seed)
    while time.monotonic() < until:
        with suppress(PoolExhaustedError):
            timeout = chance.choice([0, 0.001, 1.0])
            with pool.acquire(timeout) as producer:
                producer.produce_async("t", b"x")
                sent.append(seed)


@pytest.mark.parametrize("seed", range(3))
def test_everything_at_once(seed: int, cluster: Cluster, make_pool: MakePool) -> None:
    """Leases, resizes and reloads: no lease is lost, and every message is
    acknowledged once."""
    pool = make_pool(config(cluster), size=4, timeout=5)
    sent: list[int] = []
    until, chance = time.monotonic() + SECONDS, random.Random(seed)
    runs = [Run(lambda n=n: work(pool, n, until, sent)) for n in range(THREADS)]  # type: ignore[misc]
    while time.monotonic() < until:
        chance.choice([lambda: pool.resize(chance.randint(1, 6)), pool.reload])()
        time.sleep(0.02)
    for run in runs:
        run.result()
    pool.resize(4)
    whole_again(pool, 4)
    eventually(lambda: pool.stats().in_flight == 0)
    stats = pool.stats()
    assert stats.acknowledged == stats.produced == len(sent)
    assert stats.failed == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_close_between_leases(
    seed: int, cluster: Cluster, make_pool: MakePool
) -> None:
    """It ends every wait, and leaves no lease and no client."""
    pool = make_pool(config(cluster), size=2, timeout=5)
    until, sent = time.monotonic() + 5, list[int]()

    def call(number: int) -> None:
        with suppress(PoolError):
            work(pool, number, until, sent)
            raise AssertionError("the pool was not closed")

    runs = [Run(lambda n=n: call(seed * 100 + n)) for n in range(THREADS)]  # type: ignore[misc]
    eventually(lambda: len(sent) > 50)
    report = pool.close(5)
    for run in runs:
        run.result()
    assert report.complete
    stats = pool.stats()
    assert (stats.leased, stats.waiting) == (0, 0)
    assert stats.acknowledged == len(sent)
