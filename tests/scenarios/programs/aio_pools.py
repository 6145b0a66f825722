"""A pool for tasks on loops of every kind; what runs them is the last word."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import Counter
from typing import Any

from tests.looping import eventually, left_behind
from tests.scenarios.aio_kit import loops
from tests.scenarios.kit import SERVERS, TOPIC, WORDS, say, wait_for_child
from waterdrop_py import AsyncProducerPool
from waterdrop_py.errors import PoolTimeoutError

CONFIG = {"kafka": {"bootstrap.servers": SERVERS, "linger.ms": 0}}
TX = {"kafka": {**CONFIG["kafka"], "transactional.id": f"tx-{TOPIC}"}}
INSIDE: Counter[int] = Counter()
"""How many callers have a slot now."""


def made(source: Any = None, **options: Any) -> AsyncProducerPool:
    """A pool of two producers, unless `size` is given."""
    return AsyncProducerPool(source or CONFIG, **{"size": 2, "timeout": 20, **options})


class Exclusive:
    """Notes who has a slot; two at a time fail."""

    def __init__(self, slot: int) -> None:
        self.slot = slot

    def __enter__(self) -> None:
        INSIDE[self.slot] += 1
        assert INSIDE[self.slot] == 1, "two callers have one producer"

    def __exit__(self, *_: object) -> None:
        INSIDE[self.slot] -= 1


async def work(pool: AsyncProducerPool, name: str, tasks: int, leases: int) -> None:
    """Send in many leases of many tasks; tells how many messages were accepted."""

    async def one(number: int) -> None:
        for turn in range(leases):
            lease = await pool.acquire()
            with Exclusive(lease.slot):
                payload = f"m-{name}-{number}-{turn}"
                report = await lease.producer.produce(TOPIC, payload)
                assert report.error is None
            lease.release()

    await asyncio.gather(*[one(number) for number in range(tasks)])
    say(accepted=tasks * leases)


async def exercise(pool: AsyncProducerPool, name: str) -> None:
    """Every verb of a pool."""
    pool.resize(2)
    assert await pool.connect(10) is pool
    await work(pool, name, 20, 5)
    await cancel_some(pool, name)
    lease = await pool.acquire()
    try:
        async with pool.acquire():
            await pool.acquire(0.05)
    except PoolTimeoutError as error:
        say(refused=len(error.holders))
    lease.release()
    await pool.reload()
    pool.resize(3)
    await work(pool, f"{name}-again", 6, 2)
    assert await pool.flush(10) == 0
    assert (await pool.health(deep=True)).healthy
    async with made(TX) as pool_tx:
        await transactions(pool_tx, name)


async def transactions(pool: AsyncProducerPool, name: str) -> None:
    """Commit, abort, and cancel."""

    async def one(number: int) -> None:
        async with pool.transaction() as producer:
            await producer.send(TOPIC, f"m-{name}-tx-{number}")

    async def cancelled(number: int) -> None:
        async with pool.transaction() as producer:
            await producer.send(TOPIC, f"c-{name}-{number}")
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(cancelled(number)) for number in range(4)]
    await eventually(lambda: pool.stats().leased == 2)
    for each in tasks:
        each.cancel()
    await asyncio.wait(tasks)
    assert all(each.cancelled() for each in tasks)
    await asyncio.gather(*[one(number) for number in range(10)])
    say(accepted=10)


async def cancel_some(pool: AsyncProducerPool, name: str) -> None:
    """Cancel every other task that waits or holds; the rest sends."""

    async def one(number: int) -> None:
        async with pool.acquire() as producer:
            letter = "m" if number % 2 else "c"
            await producer.produce(TOPIC, f"{letter}-{name}-some-{number}")

    tasks = [asyncio.create_task(one(number)) for number in range(20)]
    for each in tasks[::2]:
        await asyncio.sleep(0)
        each.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert not any(found[1::2]), found
    stats = pool.stats()
    assert (stats.leased, stats.waiting) == (0, 0)
    say(accepted=10)


async def whole(name: str) -> None:
    """A pool of its own, from its first lease to its close."""
    async with made() as pool:
        await exercise(pool, name)


def runs() -> None:
    """Two `asyncio.run` one after another with one pool; a lease of the first."""
    pool = made()
    kept: list[Any] = []

    async def first() -> None:
        await exercise(pool, "first")
        kept.append(await pool.acquire())

    async def second() -> None:
        await kept[0].producer.produce(TOPIC, "m-kept")
        kept[0].release()
        await exercise(pool, "second")
        assert (await pool.close()).complete

    asyncio.run(first())
    asyncio.run(second())
    say(accepted=1)


def threads() -> None:
    """Two loops in two threads, and two threads without one, share a pool."""
    pool = made()

    def plain(name: str) -> None:
        for number in range(100):
            with pool.sync_pool.acquire() as producer, Exclusive(int(producer.id[-1])):
                producer.produce_sync(TOPIC, f"m-{name}-{number}")
        say(accepted=100)

    running = [
        threading.Thread(target=lambda name=name: asyncio.run(work(pool, name, 20, 10)))
        for name in ("left", "right")
    ]
    running += [threading.Thread(target=plain, args=(name,)) for name in ("up", "down")]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert asyncio.run(pool.close()).complete


def anyio_() -> None:
    """anyio's task groups and cancel scopes."""
    import anyio

    async def main() -> None:
        async with made() as pool:
            lease = await pool.acquire()
            async with pool.acquire():
                with anyio.move_on_after(0.05) as scope:
                    await pool.acquire()
                assert scope.cancelled_caught
            lease.release()
            assert pool.stats().leased == 0
            await exercise(pool, "anyio")

    anyio.run(main)


def closed() -> None:
    """A loop is closed while tasks wait, and have been given what came back."""
    pool = made()
    leases = [pool.sync_pool.acquire() for _ in range(2)]
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(_taken(pool)) for _ in range(3)]
    loop.run_until_complete(asyncio.sleep(0.01))
    assert pool.stats().waiting == 3
    for each in leases:
        each.release()
    loop.close()
    left_behind([*tasks])  # they stay, as `tasks`
    started = time.monotonic()
    asyncio.run(exercise(pool, "other"))
    assert pool.stats().leased == 0
    say(took=time.monotonic() - started)
    assert asyncio.run(pool.close()).complete


async def _taken(pool: AsyncProducerPool) -> Any:
    return await pool.acquire()


def fork() -> None:  # noqa: PLR0915 - one story
    """Inside a task: the child has the leases of its own thread's tasks, no other's,
    and runs a loop of its own."""
    pool = made(size=3)

    async def child() -> None:
        async with pool.acquire(1) as producer:
            await producer.produce(TOPIC, "m-child")
        assert (await pool.connect(10)) is pool
        say(accepted=1)

    async def parent() -> None:
        own = await pool.acquire()
        other = await asyncio.to_thread(pool.sync_pool.acquire)
        third = await pool.acquire()
        waits = asyncio.create_task(_taken(pool))
        await eventually(lambda: pool.stats().waiting == 1)
        pid = os.fork()
        if not pid:
            stats = pool.stats()
            say(leased=stats.leased, waiting=stats.waiting)
            say(own=own.released, other=other.released)
            third.release()
            asyncio.run(child())
            own.release()
            say(left=pool.stats().leased)
            sys.stdout.flush()
            os._exit(0)
        say(code=await asyncio.to_thread(wait_for_child, pid))
        third.release()
        fourth = await waits
        assert other.slot != fourth.slot
        for each in (own, other, fourth):
            each.release()
        await work(pool, "parent", 6, 2)
        assert (await pool.close()).complete

    asyncio.run(parent())


KINDS = {
    "runs": runs,
    "threads": threads,
    **loops(whole),
    "anyio": anyio_,
    "closed": closed,
    "fork": fork,
}
KINDS[WORDS[0]]()
