"""Loops that end, are closed, or run side by side, and a pool that they share."""

from __future__ import annotations

import asyncio
import gc
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.aio.support import OtherLoop
from tests.doubles import Run
from tests.doubles import eventually as eventually_here
from tests.looping import eventually, left_behind, probed, run
from tests.unit.pools.async_support import awaiting, start, whole_again
from waterdrop_py import AsyncProducerPool
from waterdrop_py._engine.concurrency.loops import AT_ONCE
from waterdrop_py.errors import PoolExhaustedError, PoolTimeoutError
from waterdrop_py.pools._slot import LATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.pools.conftest import MakePool


class Loop:
    """A loop that runs when the test says so, and its tasks."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.told: list[Any] = []
        self.loop.set_exception_handler(lambda _, told: self.told.append(told))

    def begin(self, awaitable: Any) -> asyncio.Task[Any]:
        """A task for that, which has begun."""
        task = self.loop.create_task(awaiting(awaitable))
        self.turn()
        return task

    def turn(self) -> None:
        """Let it run for a moment."""
        self.loop.run_until_complete(asyncio.sleep(0.01))

    def end(self, task: asyncio.Task[Any]) -> Any:
        """Let it run until the task has ended; its result."""
        return self.loop.run_until_complete(asyncio.wait_for(task, 5))


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Closed after the test, which has told its exception handler nothing."""
    made = Loop()
    yield made
    made.loop.close()
    assert made.told == []


@pytest.fixture
def pool(make_pool: MakePool) -> AsyncProducerPool:
    """Of one producer."""
    return AsyncProducerPool(make_pool(size=1))


def test_a_loop_that_is_closed_while_its_task_waits(
    pool: AsyncProducerPool, loop: Loop
) -> None:
    """The next one in the line gets the lease, whatever still refers to the task."""
    sync = pool.sync_pool
    lease = sync.acquire()
    task = loop.begin(pool.acquire())
    waits = Run(lambda: sync.acquire(5))
    eventually_here(lambda: sync.stats().waiting == 2)
    loop.loop.close()
    lease.release()
    waits.result().release()
    assert not task.done()
    left_behind([task])
    del task
    gc.collect()
    run(whole_again(pool, 1))


def test_a_loop_that_is_closed_with_what_its_task_was_given(
    pool: AsyncProducerPool, loop: Loop
) -> None:
    """The lease goes to the next caller, soon."""
    sync = pool.sync_pool
    lease = sync.acquire()
    task = loop.begin(pool.acquire())
    lease.release()  # to the task, whose loop does not run
    loop.loop.close()
    sync.acquire(LATE + 2).release()
    assert not task.done()
    left_behind([task])
    del task
    gc.collect()
    run(whole_again(pool, 1))


def test_a_loop_that_does_not_run(pool: AsyncProducerPool, loop: Loop) -> None:
    """Its task takes nothing meanwhile. It keeps its place, and is the first when the
    loop runs again."""
    sync = pool.sync_pool
    lease = sync.acquire()
    task = loop.begin(pool.acquire(60))
    waits = Run(lambda: sync.acquire(5))
    eventually_here(lambda: sync.stats().waiting == 2)
    lease.release()
    second = waits.result()
    assert sync.stats().waiting == 1
    later = Run(lambda: sync.acquire(5))
    eventually_here(lambda: sync.stats().waiting == 2)
    running = threading.Event()

    async def give_back() -> None:
        running.set()
        second.release()
        await asyncio.sleep(0)

    loop.loop.run_until_complete(give_back())
    loop.end(task).release()
    later.result().release()
    run(whole_again(pool, 1))


def test_a_lease_that_comes_back_while_the_loop_does_not_run(
    pool: AsyncProducerPool, loop: Loop
) -> None:
    """The task has it as soon as the loop runs again."""
    lease = pool.sync_pool.acquire()
    task = loop.begin(pool.acquire(60))
    for _ in range(3):  # as often as others look
        with pytest.raises(PoolExhaustedError):
            pool.sync_pool.acquire(0)
    lease.release()
    before = loop.loop.time()
    loop.end(task).release()
    assert loop.loop.time() - before < 10  # of the 60 that it may wait
    run(whole_again(pool, 1))


def test_a_loop_that_ends_between_the_gift_and_the_task(
    pool: AsyncProducerPool, loop: Loop
) -> None:
    """The seat is free again after a moment; the task waits before all others."""
    sync = pool.sync_pool
    lease = sync.acquire()

    async def gift() -> asyncio.Task[Any]:
        task = asyncio.create_task(awaiting(pool.acquire(60)))
        await eventually(lambda: sync.stats().waiting == 1)
        lease.release()  # the loop stops before the task goes on
        return task

    task = loop.loop.run_until_complete(gift())
    assert not task.done()
    with sync.acquire(LATE + 2):
        loop.turn()
        assert not task.done()
    loop.end(task).release()
    run(whole_again(pool, 1))


def test_two_loops_and_threads(make_pool: MakePool) -> None:
    """Each task is woken in its own loop; all leases are used, and none is lost."""
    pool = AsyncProducerPool(make_pool(size=2, timeout=15))
    each, served = 200, []

    async def tasks() -> None:
        async def one() -> None:
            for _ in range(each // 20):
                async with pool.acquire() as producer:
                    await producer.send("t", b"x")
                    served.append(asyncio.get_running_loop())

        await asyncio.gather(*(one() for _ in range(20)))

    def thread() -> None:
        for _ in range(each):
            with pool.sync_pool.acquire() as producer:
                producer.produce_async("t", b"x")

    async def main() -> None:
        with OtherLoop() as other:
            threads = [Run(thread) for _ in range(2)]
            async with probed() as lags:
                await asyncio.gather(other.submit(tasks()), tasks())
            for one in threads:
                await asyncio.to_thread(one.result)
            assert other.told == []
        assert lags.seconds
        assert len(set(served)) == 2
        await pool.flush(5)
        assert pool.stats().acknowledged == 4 * each
        await whole_again(pool, 2)

    run(main())


def test_a_lease_is_given_back_in_another_loop(pool: AsyncProducerPool) -> None:
    """And in a thread: `release` is plain, and wakes the task that waits."""

    async def main() -> None:
        with OtherLoop() as other:
            lease = await other.submit(awaiting(pool.acquire()))
            task = await start(pool.acquire(5), lambda: pool.stats().waiting == 1)
            other.call(lease.release)
            mine = await task
            await asyncio.to_thread(mine.release)
        await whole_again(pool, 1)

    run(main())


def test_a_pool_outlives_a_loop_that_is_closed_inside_a_block(
    pool: AsyncProducerPool, loop: Loop
) -> None:
    """What the task held goes back when it is collected."""

    async def hold() -> None:
        async with pool.acquire():
            await asyncio.sleep(60)

    task = loop.begin(hold())
    while not pool.stats().leased:  # the client opens
        loop.turn()
    loop.loop.close()
    left_behind([task])
    del task
    gc.collect()
    run(whole_again(pool, 1))


def test_many_deadlines_at_once_hold_no_loop(pool: AsyncProducerPool) -> None:
    """Tasks whose time is over together are told so a few at a time."""
    ended: list[int] = []

    async def wait() -> None:
        with pytest.raises(PoolTimeoutError):
            await pool.acquire(0.05)

    async def main() -> None:
        async with pool.acquire():
            tasks = [asyncio.create_task(wait()) for _ in range(10 * AT_ONCE)]
            while not all(each.done() for each in tasks):
                ended.append(pool.stats().timed_out)
                await asyncio.sleep(0)
        await whole_again(pool, 1)

    run(main())
    assert max(after - before for before, after in pairwise(ended)) <= AT_ONCE
