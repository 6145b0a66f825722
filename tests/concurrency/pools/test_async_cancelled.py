"""Each verb of an `AsyncProducerPool`, cancelled at each of its suspensions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.looping import eventually, run
from tests.unit.pools.async_support import (
    awaiting,
    each_suspension,
    start,
    whole_again,
)
from tests.unit.pools.support import Cluster, transactional
from waterdrop_py import AsyncProducerPool
from waterdrop_py.errors import PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.unit.pools.conftest import MakePool

WAYS = ["free", "open", "waits", "given"]
"""How the pool is: no producer was made; one is open; all are leased, and one comes
back while the task waits, or as it begins to."""


async def held(pool: AsyncProducerPool, way: str) -> list[Any]:
    """Leases that are out."""
    if way == "free":
        return []
    leases = [await pool.acquire() for _ in range(pool.size)]
    if way == "open":
        try:
            for each in leases:
                await each.producer.send("t", b"x")
        finally:
            for each in leases:
                each.release()
        return []
    return leases


def giving_back(leases: list[Any], way: str) -> None:
    """Give a lease back later, or now."""
    loop = asyncio.get_running_loop()
    for each in leases:
        if way == "given":
            loop.call_soon(each.release)
        else:
            loop.call_later(0.005, each.release)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", ["acquire", "block"])
def test_acquire(verb: str, way: str, make_pool: MakePool) -> None:
    """No lease is lost, another task that waits gets its own, and each request counts
    once."""

    async def main() -> int:
        pool = AsyncProducerPool(make_pool(size=1))

        async def take() -> None:
            leases = await held(pool, way)
            giving_back(leases, way)
            if verb == "acquire":
                lease = await pool.acquire()
                lease.release()
            else:
                async with pool.acquire():
                    await asyncio.sleep(0)

        async def check() -> None:
            async with pool.acquire(5):
                pass
            await whole_again(pool, 1)

        return await each_suspension(take, check)

    count = run(main())
    assert count >= {"free": 1, "open": 0, "waits": 1, "given": 1}[way]


@pytest.mark.parametrize("way", ["free", "waits"])
def test_transaction(way: str, cluster: Cluster, make_pool: MakePool) -> None:
    """The transaction has an end, its lease is given back, and the next one is sent."""
    pool = AsyncProducerPool(make_pool(transactional(cluster), size=1))

    async def block() -> None:
        leases = await held(pool, way)
        giving_back(leases, way)
        async with pool.transaction() as producer:
            await producer.send("t", b"x")
            await asyncio.sleep(0)

    async def check() -> None:
        assert pool.stats().leased == 0
        async with pool.transaction(5) as producer:
            await producer.send("t", b"y")
        await whole_again(pool, 1)

    assert run(each_suspension(block, check)) >= 1


VERBS: dict[str, Callable[[AsyncProducerPool], Coroutine[Any, Any, Any]]] = {
    "connect": lambda pool: pool.connect(5),
    "reload": lambda pool: pool.reload(timeout=5),
    "flush": lambda pool: pool.flush(5),
    "health": lambda pool: awaiting(pool.health(deep=True)),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", ["plain", "transactional"])
def test_verbs(verb: str, kind: str, cluster: Cluster, make_pool: MakePool) -> None:
    """The pool is whole, and another call of the verb works."""
    source = transactional(cluster) if kind == "transactional" else None
    pool = AsyncProducerPool(make_pool(source, min_connected=1))

    async def call() -> None:
        async with pool.acquire() as producer:
            if kind == "plain":
                await producer.send("t", b"x")
        await VERBS[verb](pool)

    async def check() -> None:
        await VERBS[verb](pool)
        await eventually(lambda: pool.stats().draining == 0)
        await whole_again(pool, 2)

    # A flush that finds nothing on its way does not suspend.
    nothing = verb == "flush" and kind == "transactional"
    assert run(each_suspension(call, check)) >= (0 if nothing else 1)


def test_close(make_pool: MakePool) -> None:
    """It goes on, and a later call has the report of all."""
    pools: list[AsyncProducerPool] = []

    async def call() -> None:
        pool = AsyncProducerPool(make_pool())
        pools.append(pool)
        async with pool.acquire() as producer:
            await producer.send("t", b"x")
        await pool.close(5)

    async def check() -> None:
        pool = pools[-1]
        report = await pool.close(5)
        assert report.complete
        assert report.undelivered == []
        with pytest.raises(PoolClosedError):
            await pool.acquire()

    assert run(each_suspension(call, check)) >= 1


@pytest.mark.parametrize("count", [1, 20])
def test_siblings_do_not_notice(count: int, make_pool: MakePool) -> None:
    """Every other of many tasks that wait is cancelled; the rest gets its leases, in
    order."""
    pool = AsyncProducerPool(make_pool(size=1))
    served: list[int] = []

    async def wait(number: int) -> None:
        async with pool.acquire():
            served.append(number)
            await asyncio.sleep(0)

    async def main() -> None:
        lease = await pool.acquire()
        tasks = []
        for number in range(2 * count):
            task = await start(wait(number), lambda: True)
            tasks.append(task)
        assert pool.stats().waiting == 2 * count
        for each in tasks[::2]:
            each.cancel()
        lease.release()
        await asyncio.wait(tasks)
        assert [each.cancelled() for each in tasks] == [True, False] * count
        await whole_again(pool, 1)

    run(main())
    assert served == list(range(1, 2 * count, 2))
