"""`AsyncProducerPool`: what it is made of, and each verb but `acquire`."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Run
from tests.looping import eventually, run, suspensions
from tests.unit.pools.async_support import (
    awaiting,
    ended,
    start,
    whole_again,
)
from tests.unit.pools.support import AWAY, Cluster, config, lose, transactional
from waterdrop_py import AsyncProducerPool, Lease, ProducerPool
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py.errors import (
    AbortTransaction,
    BrokerUnreachableError,
    ConfigurationInvalidError,
    InvalidArgumentError,
    PoolClosedError,
    PoolError,
    PoolExhaustedError,
    ProducerNotTransactionalError,
    TransactionalCloseError,
)

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool


@pytest.fixture
def pool(make_pool: MakePool) -> AsyncProducerPool:
    """Of two producers."""
    return AsyncProducerPool(make_pool())


@pytest.fixture
def pool_tx(cluster: Cluster, make_pool: MakePool) -> AsyncProducerPool:
    """Of two producers with ids."""
    return AsyncProducerPool(make_pool(transactional(cluster)))


class TestConstruction:
    """Without a loop, and in one."""

    def test_a_pool_of_its_own(self, cluster: Cluster) -> None:
        """It takes what `ProducerPool` takes, and closes it at the end of the block."""
        pool = AsyncProducerPool(config(cluster), size=3, timeout=1, name="own")
        same = pool.sync_pool
        assert type(same) is ProducerPool
        assert (pool.size, pool.timeout, pool.name, len(pool)) == (3, 1.0, "own", 3)
        assert (pool.client_limit, pool.min_connected) == (1, 0)
        assert (pool.strategy, pool.max_waiting) == ("pack", None)
        assert pool.monitor is same.monitor
        assert pool.config is same.config
        assert bool(pool)
        assert repr(pool) == repr(same).replace("<ProducerPool", "<AsyncProducerPool")

        async def main() -> None:
            async with pool as entered:
                assert entered is pool
                assert not pool.closed

        run(main())
        assert same.closed
        assert pool.closed

    def test_a_pool_that_is_given(self, make_pool: MakePool) -> None:
        """It is shared: leases, figures, and its end."""
        same = make_pool()
        pool = AsyncProducerPool(same)
        assert pool.sync_pool is same

        async def main() -> None:
            async with pool.acquire(), AsyncProducerPool(same).acquire():
                assert same.stats().leased == 2
                assert [each.leases for each in pool.slots()] == [1, 1]
                with pytest.raises(PoolExhaustedError):
                    same.acquire(0)

        run(main())

    @pytest.mark.parametrize("options", [{"size": 3}, {"name": "x"}, {"sizes": 3}])
    def test_a_pool_that_is_given_has_its_options(
        self, make_pool: MakePool, options: Any
    ) -> None:
        """Others beside it are refused by name."""
        (name,) = options
        with pytest.raises(InvalidArgumentError, match=f"{name}: options cannot be"):
            AsyncProducerPool(make_pool(), **options)

    def test_options_are_checked(self) -> None:
        """As those of a `ProducerPool`, and each error is told at once."""
        with pytest.raises(ConfigurationInvalidError) as invalid:
            AsyncProducerPool({"kafka": {}}, size=0, max_waiting=0, pool_size=3)
        assert {"size", "max_waiting", "pool_size"} <= set(invalid.value.errors)

    def test_it_is_not_copied(self, pool: AsyncProducerPool) -> None:
        """Nor pickled."""
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                duplicate(pool)

    def test_two_loops_one_after_another(self, pool: AsyncProducerPool) -> None:
        """A pool outlives its loops."""

        async def main() -> None:
            async with pool.acquire() as producer:
                await producer.produce("t", b"x")

        run(main())
        run(main())
        assert pool.stats().granted == 2


class TestEvents:
    """Subscribers of a pool and of its producers' making."""

    def test_no_subscriber_runs_on_the_loop(self, make_pool: MakePool) -> None:
        """Each event of the pool is told on a library thread, in order."""
        pool = AsyncProducerPool(make_pool(min_connected=1))
        heard: list[tuple[str, str]] = []
        pool.monitor.subscribe(
            "*",
            lambda event: heard.append((event.name, threading.current_thread().name)),
        )

        async def main() -> None:
            async with pool.acquire():
                lease = await pool.acquire()
                with pytest.raises(PoolExhaustedError):
                    await pool.acquire(0)
                pool.resize(1)
                pool.resize(2)
                lease.release()
            await pool.connect()
            await pool.reload()
            await pool.close()
            await eventually(lambda: heard[-1][0] == "pool.closed")

        run(main())
        assert {each for _, each in heard} == {"waterdrop-closer"}
        named = [name for name, _ in heard if name.startswith("pool.")]
        assert named == [
            "pool.acquired",
            "pool.acquired",
            "pool.exhausted",
            "pool.resized",
            "pool.resized",
            "pool.released",
            "pool.released",
            "pool.reload",
            "pool.reloaded",
            "pool.closing",
            "pool.closed",
        ]


class TestTransactions:
    """`async with pool.transaction():`."""

    def test_it_is_committed_and_given_back(self, pool_tx: AsyncProducerPool) -> None:
        """In this order."""
        heard: list[str] = []
        for name in ("transaction.committed", "transaction.aborted", "pool.released"):
            pool_tx.monitor.subscribe(name, lambda event: heard.append(event.name))

        async def failing() -> None:
            async with pool_tx.transaction() as producer:
                await producer.produce("t", b"y")
                raise ZeroDivisionError

        async def main() -> None:
            async with pool_tx.transaction() as producer:
                assert producer.in_transaction
                assert pool_tx.stats().leased == 1
                await producer.produce("t", b"x")
            assert pool_tx.stats().leased == 0
            await eventually(lambda: len(heard) == 2)
            assert heard == ["transaction.committed", "pool.released"]
            async with pool_tx.transaction() as producer:
                raise AbortTransaction
            with pytest.raises(ZeroDivisionError):
                await failing()
            await eventually(lambda: len(heard) == 6)
            assert heard[2:] == ["transaction.aborted", "pool.released"] * 2
            await whole_again(pool_tx, 2)

        run(main())

    def test_a_cancelled_block_gives_its_lease_back(
        self, pool_tx: AsyncProducerPool
    ) -> None:
        """After the transaction was aborted."""

        async def block() -> None:
            async with pool_tx.transaction() as producer:
                await producer.send("t", b"x")
                await asyncio.sleep(60)

        async def main() -> None:
            for _ in range(3):
                task = await start(block(), lambda: pool_tx.stats().produced)
                await ended(task)
                assert pool_tx.stats().leased == 0
            await whole_again(pool_tx, 2)

        run(main())

    def test_without_an_id(self, pool: AsyncProducerPool) -> None:
        """The call is refused, and takes no lease."""
        with pytest.raises(ProducerNotTransactionalError):
            pool.transaction()
        assert pool.stats().requests == 0

    def test_it_is_entered_once(self, pool_tx: AsyncProducerPool) -> None:
        """Another block needs a call of its own."""

        async def main() -> None:
            block = pool_tx.transaction()
            async with block:
                pass
            with pytest.raises(PoolError):
                await block.__aenter__()
            await whole_again(pool_tx, 2)

        run(main())

    def test_none_is_free(self, pool_tx: AsyncProducerPool) -> None:
        """On entering the block, within its own bound."""

        async def main() -> None:
            async with pool_tx.transaction(), pool_tx.transaction():
                for block in (pool_tx.transaction(0), pool_tx.transaction(block=False)):
                    with pytest.raises(PoolExhaustedError):
                        await block.__aenter__()
                with pytest.raises(TimeoutError):
                    await pool_tx.transaction(0.01).__aenter__()
                with pytest.raises(TransactionalCloseError):
                    await pool_tx.close()

        run(main())

    def test_a_lease_inside_of_its_transaction(
        self, pool_tx: AsyncProducerPool
    ) -> None:
        """It is not released there."""

        async def main() -> None:
            lease = await pool_tx.acquire()
            async with lease.producer.transaction():
                with pytest.raises(TransactionalCloseError):
                    lease.release()
            lease.release()

        run(main())


class TestConnect:
    """`await pool.connect()`."""

    def test_it_opens_what_stays_open(self, make_pool: MakePool) -> None:
        """And returns the pool."""
        pool = AsyncProducerPool(make_pool(min_connected=2))

        async def main() -> None:
            assert await pool.connect(5) is pool
            assert pool.stats().connected == 2

        run(main())

    def test_errback_is_called_on_the_loop(
        self, pool: AsyncProducerPool, cluster: Cluster
    ) -> None:
        """With each error, and the seconds to the next attempt."""
        cluster.down, cluster.why = True, AWAY
        heard: list[Any] = []

        def errback(error: BaseException, interval: float) -> None:
            heard.append((error, interval, threading.current_thread()))
            asyncio.get_running_loop()
            if len(heard) == 2:
                cluster.down = False

        async def main() -> None:
            await pool.connect(
                5, errback=errback, interval_start=0.01, interval_step=0.01
            )

        run(main())
        assert [interval for _, interval, _ in heard] == pytest.approx([0.01, 0.02])
        assert {thread for _, _, thread in heard} == {threading.current_thread()}
        assert isinstance(heard[0][0], BaseException)

    @pytest.mark.parametrize("interval", [0.01, 60])
    def test_a_cancelled_one_makes_no_further_attempt(
        self, pool: AsyncProducerPool, cluster: Cluster, interval: float
    ) -> None:
        """And calls `errback` no more; its client is closed at once."""
        cluster.down, cluster.why = True, AWAY
        heard: list[float] = []

        async def main() -> None:
            task = await start(
                pool.connect(
                    60,
                    interval_max=60,
                    errback=lambda _, interval: heard.append(interval),
                    interval_start=interval,
                    interval_step=0,
                ),
                lambda: heard,
            )
            await ended(task)
            heard.clear()
            assert cluster.clients[0] in cluster.open
            await eventually(lambda: not cluster.open, "its client is closed")
            asked = cluster.asked
            await asyncio.sleep(0.3)
            assert cluster.asked == asked
            assert heard == []

        run(main())

    def test_what_errback_raises_comes_out(
        self, pool: AsyncProducerPool, cluster: Cluster
    ) -> None:
        """It ends the call, as that of `ProducerPool.connect` does."""
        cluster.down, cluster.why = True, AWAY

        def errback(*_: object) -> None:
            raise ZeroDivisionError

        async def main() -> None:
            with pytest.raises(ZeroDivisionError):
                await pool.connect(5, errback=errback, interval_start=0.01)

        run(main())

    @pytest.mark.parametrize("errback", [5, asyncio.sleep])
    def test_an_errback_is_a_plain_function(
        self, pool: AsyncProducerPool, errback: Any
    ) -> None:
        """Checked before anything is opened."""

        async def main() -> None:
            with pytest.raises(InvalidArgumentError, match="errback: must be"):
                await pool.connect(errback=errback)
            with pytest.raises(InvalidArgumentError, match="timeout: must be"):
                await pool.connect(None)  # type: ignore[arg-type]

        run(main())
        assert pool.stats().opens == 0


class TestTheRest:
    """`reload`, `flush`, `health` and `close`."""

    def test_reload(self, pool: AsyncProducerPool, cluster: Cluster) -> None:
        """Its proof holds no loop; a failed one changes nothing."""

        async def main() -> None:
            async with pool.acquire() as old:
                await old.produce("t", b"x")
            assert (await suspensions(pool.reload()))[0] >= 1
            async with pool.acquire() as new:
                assert new.sync_producer is not old.sync_producer
            cluster.down = True
            with pytest.raises(BrokerUnreachableError):
                await pool.reload(timeout=0.1)
            async with pool.acquire() as same:
                assert same.sync_producer is new.sync_producer
            with pytest.raises(ConfigurationInvalidError):
                await pool.reload(_coroutine_function)  # type: ignore[arg-type]
            await whole_again(pool, 2)

        run(main())

    def test_flush(self, pool: AsyncProducerPool, cluster: Cluster) -> None:
        """All producers, within the bound; what is left is counted."""
        cluster.silent = True

        async def main() -> None:
            async with pool.acquire() as one, pool.acquire() as other:
                for each in (one, other):
                    await each.send("t", b"x")
            assert await pool.flush(0.05) == 2
            waits = await start(pool.flush(), lambda: True)
            await asyncio.sleep(0.05)
            assert not waits.done()
            cluster.silent = False
            assert await waits == 0
            with pytest.raises(InvalidArgumentError):
                await pool.flush("x")  # type: ignore[arg-type]
            await pool.close()
            with pytest.raises(PoolClosedError):
                await pool.flush()

        run(main())

    @pytest.mark.own_process
    @pytest.mark.parametrize("linger", [0, 60_000])
    def test_a_cancelled_flush(self, cluster: Cluster, linger: int) -> None:
        """Its wait ends, and no thread is busy with it; the next one works."""
        cluster.silent = True
        source = config(cluster, kafka={"linger.ms": linger})

        async def main() -> None:
            async with AsyncProducerPool(source, size=3) as pool:
                leases = [await pool.acquire() for _ in range(3)]
                for each in leases:
                    await each.producer.send("t", b"x")
                    each.release()
                for _ in range(3):
                    flush = await start(pool.flush(), lambda: True)
                    await asyncio.sleep(0.1)
                    began = time.monotonic()
                    await ended(flush)
                    assert time.monotonic() - began < 10
                workers = RUNTIME.workers
                await eventually(lambda: not workers.held_up(0, began))
                assert pool.stats().in_flight == 3
                cluster.silent = False
                assert await pool.flush(5) == 0

        run(main())

    def test_health(self, pool: AsyncProducerPool, cluster: Cluster) -> None:
        """A shallow one is plain, and may be awaited; a deep one is awaited."""

        async def main() -> None:
            assert pool.health().healthy
            assert (await pool.health()).healthy
            assert pool.stats().opens == 0
            found = await pool.health(deep=True)
            assert (found.healthy, found.deep) == (True, True)
            cluster.down = True
            assert not (await pool.health(deep=True, timeout=0.1)).healthy
            with pytest.raises(InvalidArgumentError):
                pool.health(deep=1)  # type: ignore[call-overload]
            await pool.close()
            assert isinstance(pool.health().error, PoolClosedError)

        run(main())

    def test_a_fatal_error(self, pool: AsyncProducerPool) -> None:
        """The slot goes on with a new producer."""

        async def main() -> None:
            async with pool.acquire() as old:
                await old.produce("t", b"x")
                lose(old.sync_producer)
            async with pool.acquire() as new:
                await new.produce("t", b"x")

        run(main())

    def test_close_does_not_wait_for_its_own_task(
        self, pool: AsyncProducerPool
    ) -> None:
        """It waits for the leases of other tasks and threads."""

        async def main() -> None:
            lease = await pool.acquire()
            began = time.monotonic()
            report = await pool.close(8)
            assert time.monotonic() - began < 4
            assert [each.slot for each in report.holders] == [lease.slot]
            assert not report.complete
            lease.release()

        run(main())

    def test_close_does_not_wait_for_its_thread(self, pool: AsyncProducerPool) -> None:
        """A lease that was taken on it before the loop began."""
        lease = pool.sync_pool.acquire()
        began = time.monotonic()
        assert not run(pool.close(8)).complete
        assert time.monotonic() - began < 6  # and what `run` looks at
        lease.release()

    def test_close_waits_for_other_tasks(self, pool: AsyncProducerPool) -> None:
        """And for threads, as long as it may."""

        async def main() -> None:
            lease = await asyncio.create_task(awaiting(pool.acquire()))
            thread = Run(pool.sync_pool.acquire).result()
            close = await start(pool.close(10), lambda: pool.closed)
            await asyncio.sleep(0.05)
            assert isinstance(thread, Lease)
            thread.release()
            await asyncio.sleep(0.05)
            assert not close.done()
            lease.release()
            report = await close
            assert report.complete
            assert await pool.close() == report

        run(main())

    def test_a_sync_close_in_a_task_waits_for_no_task_of_its_loop(
        self, pool: AsyncProducerPool
    ) -> None:
        """These cannot go on meanwhile."""

        async def main() -> None:
            lease = await asyncio.create_task(awaiting(pool.acquire()))
            began = time.monotonic()
            report = pool.sync_pool.close(8)
            assert time.monotonic() - began < 4
            assert len(report.holders) == 1
            lease.release()

        run(main())

    def test_a_cancelled_close_goes_on(self, pool: AsyncProducerPool) -> None:
        """Also when it is cancelled over and over; the last call has the report."""

        async def main() -> None:
            lease = await asyncio.create_task(awaiting(pool.acquire()))
            for _ in range(3):
                await ended(await start(pool.close(10), lambda: pool.closed))
            lease.release()
            assert (await pool.close()).complete

        run(main())


async def _coroutine_function(_: int) -> None:
    raise AssertionError("it was called")
