"""How many threads a large pool takes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.doubles import eventually
from tests.unit.pools.support import Cluster, config
from waterdrop_py._engine.concurrency import threads
from waterdrop_py._engine.concurrency.call_queue import SLOW
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py.pools._endings import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import ProducerPool

# Another test's worker may wait for an absent broker, for as long as half a minute.
pytestmark = pytest.mark.own_process

MANY = 300
MORE = 200
USUAL = 8 * QUICK
"""For closes that take no time: 3 threads for each, and more where one is slow to
end."""


class Peak:
    """The most workers that there were at once, since `clear`."""

    def __init__(self) -> None:
        self.most = 0

    def clear(self) -> None:
        """Begin again, with no worker."""
        RUNTIME.workers.end_if_idle()
        eventually(lambda: not RUNTIME.workers._threads)  # noqa: SLF001
        self.most = 0

    def note(self) -> None:
        """A thread starts."""
        self.most = max(self.most, len(RUNTIME.workers._threads))  # noqa: SLF001


@pytest.fixture
def peak(monkeypatch: pytest.MonkeyPatch) -> Peak:
    """How many threads the library has."""
    made = Peak()
    start = threads.start

    def noting(name: str, run: Callable[[], None]) -> bool:
        made.note()
        return start(name, run)

    monkeypatch.setattr(threads, "start", noting)
    return made


def opened(make_pool: MakePool, cluster: Cluster) -> ProducerPool:
    """A pool of many producers, each of which is open."""
    pool = make_pool(config(cluster), size=MANY)
    with ExitStack() as leases:
        for _ in range(MANY):
            leases.enter_context(pool.acquire()).produce_sync("t", b"x")
    return pool


def test_a_shrink(cluster: Cluster, make_pool: MakePool, peak: Peak) -> None:
    """What has nothing to deliver is closed by a few threads."""
    pool = opened(make_pool, cluster)
    peak.clear()
    pool.resize(1)
    eventually(lambda: pool.stats().draining == 0, "what was retired is closed")
    assert len(cluster.open) == 1
    assert peak.most <= USUAL


def test_a_reload(cluster: Cluster, make_pool: MakePool, peak: Peak) -> None:
    """New producers are opened a few at a time, and the old ones closed so."""
    pool = opened(make_pool, cluster)
    peak.clear()
    pool.reload()
    eventually(lambda: pool.stats().draining == 0, "what was retired is closed")
    assert len(cluster.open) == MANY
    assert peak.most <= SLOW + USUAL


def test_a_shrink_behind_messages(
    cluster: Cluster, make_pool: MakePool, peak: Peak
) -> None:
    """Producers that deliver take a bounded number of threads. One that waits for a
    thread, and has delivered meanwhile, is closed though the others have not."""
    first, rest = Cluster(), Cluster()
    cluster.silent = first.silent = rest.silent = True
    pool = make_pool(config(cluster), size=SLOW + MORE + 1)
    with ExitStack() as leases:
        for _ in range(SLOW + MORE + 1):
            leases.enter_context(pool.acquire()).produce_async("t", b"x")
    for number, client in enumerate(cluster.clients):
        client.cluster = first if number <= SLOW else rest
    peak.clear()
    pool.resize(1)
    eventually(lambda: pool.stats().draining == SLOW + MORE)
    rest.silent = False
    eventually(lambda: pool.stats().in_flight == SLOW + 1)
    pool._sweep()  # noqa: SLF001 - once a second, on the poller
    eventually(lambda: pool.stats().draining == SLOW, "what has delivered is closed")
    first.silent = False
    eventually(lambda: pool.stats().draining == 0, "what was retired is closed")
    assert peak.most <= 3 * SLOW + USUAL
