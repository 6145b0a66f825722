"""Leases for tasks: how they are asked for, in which order they come, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import pickle
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Run
from tests.looping import eventually, run
from tests.unit.pools.async_support import (
    at_once,
    awaiting,
    ended,
    start,
    whole_again,
)
from tests.unit.pools.support import Cluster, transactional
from waterdrop_py import AsyncProducer, AsyncProducerPool
from waterdrop_py.errors import (
    InvalidArgumentError,
    LeaseReleasedError,
    PoolClosedError,
    PoolError,
    PoolExhaustedError,
    PoolTimeoutError,
    TooManyRequestsError,
)

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool


@pytest.fixture
def pool(make_pool: MakePool) -> AsyncProducerPool:
    """Of two producers."""
    return AsyncProducerPool(make_pool())


def line() -> int:
    """The line that calls this."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def holder(pool: AsyncProducerPool) -> tuple[str, str]:
    """Owner and place of the pool's only lease."""
    ((found,),) = [slot.holders for slot in pool.slots() if slot.holders]
    return found.owner, found.where


def test_a_request_takes_nothing_by_itself(pool: AsyncProducerPool) -> None:
    """Only awaiting or entering it does; one that is dropped says nothing."""

    async def main() -> None:
        for request in (pool.acquire(), pool.acquire(0), pool.acquire(block=False)):
            assert pool.stats().requests == 0
            del request

    run(main())
    pool.acquire()  # without a loop, too
    assert pool.stats().requests == 0


def test_a_block_and_a_lease_give_the_same(pool: AsyncProducerPool) -> None:
    """An `AsyncProducer` of the slot's producer, by either way."""

    async def main() -> None:
        async with pool.acquire() as producer:
            assert isinstance(producer, AsyncProducer)
            await producer.produce("t", b"x")
            assert producer.id == pool.slots()[0].producer_id
            assert pool.stats().leased == 1
        assert pool.stats().leased == 0
        lease = await pool.acquire()
        assert lease.producer is lease.producer
        assert lease.producer.sync_producer is producer.sync_producer
        assert (lease.slot, lease.released) == (0, False)
        assert lease.held_ms >= 0
        assert "AsyncLease" in repr(lease)
        Run(lease.release).result()
        lease.release()
        assert lease.released
        assert pool.stats().leased == 0
        with pytest.raises(LeaseReleasedError):
            lease.producer.buffer("t", b"x")
        with pytest.raises(LeaseReleasedError):
            async with lease:
                raise AssertionError("it was entered")
        async with await pool.acquire() as third:
            assert third.sync_producer is producer.sync_producer
        assert pool.stats().leased == 0
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                duplicate(lease)

    run(main())


def test_a_request_is_used_once(pool: AsyncProducerPool) -> None:
    """Another lease needs a call of its own; the first is not affected."""

    async def main() -> None:
        request = pool.acquire()
        async with request:
            with pytest.raises(PoolError, match="acquire\\(\\) of its own"):
                await request
            with pytest.raises(PoolError, match="acquire\\(\\) of its own"):
                await request.__aenter__()
            assert pool.stats().leased == 1
        assert pool.stats().leased == 0

    run(main())


@pytest.mark.parametrize(
    "arguments", [{"timeout": -1}, {"timeout": "x"}, {"block": 1}, {"timeout": True}]
)
@pytest.mark.parametrize("verb", ["acquire", "transaction"])
def test_arguments_are_checked(
    verb: str, arguments: Any, cluster: Cluster, make_pool: MakePool
) -> None:
    """By the call, which takes nothing."""
    pool = AsyncProducerPool(make_pool(transactional(cluster)))
    with pytest.raises(InvalidArgumentError, match=r"(timeout|block): must be"):
        getattr(pool, verb)(**arguments)
    assert pool.stats().requests == 0


def test_what_need_not_wait_does_not_suspend(pool: AsyncProducerPool) -> None:
    """`acquire(0)` never; any other where a producer is open and free."""

    async def main() -> None:
        async def take(*given: Any, **named: Any) -> Any:
            return await pool.acquire(*given, **named)

        first = at_once(take(0))
        await first.producer.produce("t", b"x")
        second = at_once(take(block=False))
        for refused in (take(0), take(block=False), take(0.0)):
            with pytest.raises(PoolExhaustedError) as error:
                at_once(refused)
            assert type(error.value) is PoolExhaustedError
        first.release()
        at_once(take()).release()
        second.release()

    run(main())


class TestOwners:
    """Who took a lease, and where."""

    async def owned(self, pool: AsyncProducerPool) -> None:
        """Each way to take a lease tells the task and the line of the call."""
        async with pool.acquire():
            assert holder(pool) == ("mine", f"{__file__}:{line() - 1}")
        lease = await pool.acquire()
        assert holder(pool) == ("mine", f"{__file__}:{line() - 1}")
        lease.release()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(pool.acquire())
            assert holder(pool) == ("mine", f"{__file__}:{line() - 1}")
        lease = await asyncio.wait_for(pool.acquire(), 5)
        assert holder(pool) == ("mine", f"{__file__}:{line() - 1}")
        lease.release()
        (lease,) = await asyncio.gather(pool.acquire())
        assert holder(pool) == ("mine", f"{__file__}:{line() - 1}")
        lease.release()

    def test_a_task(self, pool: AsyncProducerPool) -> None:
        """Its name, and the line that calls `acquire`."""

        async def main() -> None:
            await asyncio.create_task(self.owned(pool), name="mine")

        run(main())

    def test_a_task_that_waits(self, make_pool: MakePool) -> None:
        """The same, when it had to wait in the line."""
        pool = AsyncProducerPool(make_pool(size=1))

        async def wait() -> None:
            async with pool.acquire():
                assert holder(pool) == ("mine", f"{__file__}:{line() - 1}")

        async def main() -> None:
            lease = await pool.acquire()
            task = await start(wait(), lambda: pool.stats().waiting == 1, "mine")
            lease.release()
            await task

        run(main())

    def test_a_transaction(self, cluster: Cluster, make_pool: MakePool) -> None:
        """The line that calls `transaction`."""
        pool = AsyncProducerPool(make_pool(transactional(cluster)))

        async def main() -> None:
            async with pool.transaction():
                assert holder(pool)[1] == f"{__file__}:{line() - 1}"

        run(main())

    def test_a_sync_pool_inside_a_task(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """The task's name, by `acquire` and by `transaction`."""
        pool = AsyncProducerPool(make_pool(transactional(cluster)))

        async def mine() -> None:
            for take in (pool.sync_pool.acquire, pool.sync_pool.transaction):
                with take():
                    assert holder(pool) == ("mine", f"{__file__}:{line() - 1}")

        async def main() -> None:
            await asyncio.create_task(mine(), name="mine")

        run(main())
        with pool.sync_pool.acquire():
            assert holder(pool)[0] == threading.current_thread().name

    def test_a_callback_of_the_loop(self, pool: AsyncProducerPool) -> None:
        """No task runs: the thread's name."""
        found: list[str] = []

        def callback() -> None:
            with pool.sync_pool.acquire():
                found.append(holder(pool)[0])

        async def main() -> None:
            asyncio.get_running_loop().call_soon(callback)
            await eventually(lambda: found)

        run(main())
        assert found == [threading.current_thread().name]

    def test_nested_leases(self, make_pool: MakePool) -> None:
        """The checklist says it to the task that holds one, and to no other."""
        pool = AsyncProducerPool(make_pool(size=1))

        async def refused() -> str:
            with pytest.raises(PoolExhaustedError) as error:
                await pool.acquire(0)
            return str(error.value)

        async def main() -> None:
            async with pool.acquire():
                me = asyncio.current_task()
                assert me is not None
                text = await refused()
                assert f"{me.get_name()} holds a lease of this pool itself" in text
                assert "t tasks that each hold k leases" in text
                other = await asyncio.create_task(refused())
                assert "itself" not in other
                assert f"{me.get_name()} took it at {__file__}:" in other

        run(main())


class TestTheLine:
    """Tasks and threads that wait."""

    def test_a_release_serves_the_first(self, make_pool: MakePool) -> None:
        """Tasks and threads side by side, in the order of their calls."""
        pool = AsyncProducerPool(make_pool(size=1))
        order: list[int] = []

        async def task(number: int) -> None:
            async with pool.acquire():
                order.append(number)

        def thread(number: int) -> None:
            with pool.sync_pool.acquire():
                order.append(number)

        async def main() -> None:
            lease = await pool.acquire()
            tasks, threads = [], []
            for number in range(10):
                if number % 2:
                    call = functools.partial(thread, number)
                    threads.append(Run(call))
                else:
                    tasks.append(asyncio.create_task(task(number)))
                await eventually(lambda: pool.stats().waiting == number + 1)  # noqa: B023
            lease.release()
            await asyncio.gather(*tasks)
            await eventually(lambda: len(order) == 10)
            for each in threads:
                each.result()
            await whole_again(pool, 1)

        run(main())
        assert order == list(range(10))

    def test_it_is_not_overtaken(self, make_pool: MakePool) -> None:
        """A lease that comes back belongs to the task that waits, before it has run."""
        pool = AsyncProducerPool(make_pool(size=1))

        async def main() -> None:
            lease = await pool.acquire()
            task = await start(pool.acquire(), lambda: pool.stats().waiting == 1)
            lease.release()
            with pytest.raises(PoolExhaustedError):
                await pool.acquire(0)
            (await task).release()

        run(main())

    @pytest.mark.own_process
    def test_waiting_takes_no_thread(self, make_pool: MakePool) -> None:
        """500 tasks wait and are served, on no more threads than before."""
        pool = AsyncProducerPool(make_pool(size=1, timeout=15))
        served: list[int] = []

        async def wait(number: int) -> None:
            async with pool.acquire():
                served.append(number)

        async def main() -> None:
            lease = await pool.acquire()
            before = threading.active_count()
            tasks = [asyncio.create_task(wait(number)) for number in range(500)]
            await eventually(lambda: pool.stats().waiting == 500)
            assert threading.active_count() <= before
            lease.release()
            await asyncio.gather(*tasks)
            assert served == list(range(500))
            assert pool.stats().queued == 500

        run(main())

    @pytest.mark.timed
    def test_the_deadline(self, make_pool: MakePool) -> None:
        """Never before it, and at most 20 ms after it."""
        pool = AsyncProducerPool(make_pool(size=1))

        async def late(bound: float) -> float:
            began = time.monotonic()
            with pytest.raises(PoolTimeoutError) as error:
                await pool.acquire(bound)
            waited = time.monotonic() - began
            assert waited >= bound
            assert error.value.waited_ms >= bound * 1000
            return waited - bound

        async def main() -> None:
            async with pool.acquire():
                for bound in (0.001, 0.01, 0.1, 0.7):
                    assert min([await late(bound) for _ in range(3)]) < 0.02

        run(main())
        assert pool.stats().timed_out == 12

    def test_as_many_as_may(self, make_pool: MakePool) -> None:
        """One more is refused at once."""
        pool = AsyncProducerPool(make_pool(size=1, max_waiting=1))

        async def main() -> None:
            lease = await pool.acquire()
            task = await start(pool.acquire(), lambda: pool.stats().waiting == 1)
            with pytest.raises(TooManyRequestsError):
                await pool.acquire()
            lease.release()
            (await task).release()
            await whole_again(pool, 1)

        run(main())

    @pytest.mark.parametrize("before", [False, True])
    def test_a_cancelled_wait_loses_no_lease(
        self, make_pool: MakePool, *, before: bool
    ) -> None:
        """Cancelled before or after the lease was given to it: the next one gets it."""
        pool = AsyncProducerPool(make_pool(size=1))

        async def main() -> None:
            lease = await pool.acquire()
            first = await start(pool.acquire(), lambda: pool.stats().waiting == 1)
            second = await start(pool.acquire(), lambda: pool.stats().waiting == 2)
            if before:
                first.cancel()
                lease.release()
            else:
                lease.release()
                first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            (await second).release()
            assert pool.stats().refused == 1
            await whole_again(pool, 1)

        run(main())

    def test_a_cancelled_holder_gives_its_lease_back(self, make_pool: MakePool) -> None:
        """Inside the block, to the task that waits."""
        pool = AsyncProducerPool(make_pool(size=1))

        async def hold() -> None:
            async with pool.acquire():
                await asyncio.sleep(60)

        async def main() -> None:
            held = await start(hold(), lambda: pool.stats().leased == 1)
            waits = await start(pool.acquire(), lambda: pool.stats().waiting == 1)
            await ended(held)
            (await waits).release()
            await whole_again(pool, 1)

        run(main())

    def test_resize_serves_tasks(self, make_pool: MakePool) -> None:
        """At once; it is plain."""
        pool = AsyncProducerPool(make_pool(size=1))

        async def main() -> None:
            async with pool.acquire():
                task = await start(pool.acquire(), lambda: pool.stats().waiting == 1)
                pool.resize(2)
                (await task).release()
            assert len(pool) == pool.size == 2

        run(main())

    def test_a_close_ends_all_waits(self, make_pool: MakePool) -> None:
        """With `PoolClosedError`."""
        pool = AsyncProducerPool(make_pool(size=1))

        async def main() -> None:
            lease = await pool.acquire()
            tasks = [asyncio.create_task(awaiting(pool.acquire())) for _ in range(3)]
            await eventually(lambda: pool.stats().waiting == 3)
            close = asyncio.create_task(pool.close())
            for each in tasks:
                with pytest.raises(PoolClosedError):
                    await each
            lease.release()
            assert (await close).complete
            with pytest.raises(PoolClosedError):
                await pool.acquire()

        run(main())


def test_a_dropped_lease_goes_back(pool: AsyncProducerPool) -> None:
    """With a warning and an event that name the task and the line."""
    heard: list[Any] = []
    pool.monitor.subscribe("pool.leaked", heard.append)

    async def main() -> int:
        await pool.acquire()
        return line() - 1

    async def named() -> int:
        return await asyncio.create_task(main(), name="careless")

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        number = run(named())
        gc.collect()
    assert [str(each.message) for each in warned] == [
        f"a lease of pool {pool.name!r} was dropped without release(); careless took "
        f"it at {__file__}:{number}"
    ]
    run(eventually(lambda: heard))
    assert (heard[0]["owner"], heard[0]["where"]) == (
        "careless",
        f"{__file__}:{number}",
    )
    run(whole_again(pool, 2))
