"""Several loops and threads on one producer, one after another and side by side."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

from tests.concurrency.aio.support import (
    OtherLoop,
    calls,
    full,
    made,
    opened,
    parked,
    payloads,
)
from tests.looping import eventually, left_behind, run, turns

if TYPE_CHECKING:
    import pytest

    from tests.concurrency.support import Make
    from tests.doubles import Bench


def test_a_producer_outlives_its_loops(bench: Bench, make: Make) -> None:
    """`asyncio.run` again and again with one producer; a handle of an earlier loop is
    awaited on a later one."""
    producer = made(make)
    handles: list[Any] = []

    async def sends(number: int) -> None:
        handles.append(await producer.send("t", b"%d" % number))
        await producer.produce("t", b"%d" % number)

    async def awaits() -> None:
        for handle in handles:
            assert (await handle).error is None

    for number in range(5):
        run(sends(number))
    run(awaits())
    assert len(bench.clients) == 1


def test_two_loops_side_by_side(bench: Bench, make: Make) -> None:
    """Both wait for the client, and both for room: first come, first served."""
    producer = made(make)

    async def main() -> None:
        with OtherLoop() as other:
            with bench.park("open") as opening:
                here = asyncio.ensure_future(producer.produce("t", b"here"))
                await parked(opening)
                there = other.submit(producer.produce("t", b"there"))
                await other.submit(turns())
                opening.go()
                await asyncio.gather(here, there)
            await full(bench, producer, 2)
            order, tasks = [], []
            for number in range(20):
                payload = b"%d" % number
                send = producer.send("t", payload)
                task = other.submit(send) if number % 2 else asyncio.ensure_future(send)
                tasks.append(task)
                order.append(payload)
                await calls(producer, number + 1)
            while not all(task.done() for task in tasks):
                bench.client.ack(1)
                await asyncio.sleep(0.002)
            bench.auto = True
            bench.client.ack()
            assert await producer.flush(5) == 0
            assert payloads(bench)[-20:] == order
            assert not other.told

    run(main())


def test_one_handle_on_two_loops(bench: Bench, make: Make) -> None:
    """Each is woken."""
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        bench.auto = False
        handle = await producer.send("t", b"x")

        async def awaited() -> Any:
            return await handle

        with OtherLoop() as other:
            there = other.submit(awaited())
            here = asyncio.ensure_future(awaited())
            await turns()
            bench.client.ack()
            assert await here == await there
        bench.auto = True

    run(main())


def test_a_loop_that_is_closed_under_its_waiting_tasks(
    bench: Bench, make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those of another loop that wait behind them go on, what was handed over is
    delivered, and nothing is printed."""
    producer = made(make)
    tasks: list[asyncio.Task[Any]] = []

    async def main() -> None:
        await full(bench, producer, 2)
        with OtherLoop() as dead:

            def begin() -> None:
                for number in range(10):
                    work = producer.produce("t", b"dead-%d" % number)
                    tasks.append(dead.loop.create_task(work))

            dead.call(begin)
            await calls(producer, 10)
            behind = asyncio.ensure_future(producer.produce("t", b"behind"))
            await calls(producer, 11)
        while not behind.done():
            bench.client.ack(1)
            await asyncio.sleep(0.002)
        assert (await behind).error is None
        bench.auto = True
        bench.client.ack()
        assert await producer.flush(5) == 0
        assert not dead.told

    run(main())
    left_behind(tasks)
    gc.collect()
    sent = payloads(bench)
    assert sent.count(b"behind") == 1
    assert len(sent) == len(set(sent)) == producer.stats().acknowledged
    assert capfd.readouterr() == ("", "")


def test_a_loop_that_is_closed_while_reports_are_on_their_way(
    bench: Bench, make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    """The reports come, the handles are resolved, and another loop awaits them."""
    producer = made(make)
    handles: list[Any] = []

    async def main() -> None:
        await opened(producer)
        bench.auto = False
        dead = OtherLoop()
        tasks: list[asyncio.Task[Any]] = []
        with dead:

            async def one() -> None:
                handles.append(await producer.send("t", b"x"))
                await handles[-1]

            dead.call(
                lambda: tasks.extend(dead.loop.create_task(one()) for _ in range(10))
            )
            await eventually(lambda: len(handles) == 10)
        left_behind(tasks)
        waiting = [asyncio.ensure_future(_awaited(each)) for each in handles]
        await turns()
        bench.client.ack()
        for report in await asyncio.gather(*waiting):
            assert report.error is None
        bench.auto = True
        assert not dead.told

    run(main())
    gc.collect()
    assert capfd.readouterr() == ("", "")


async def _awaited(handle: Any) -> Any:
    return await handle


def test_threads_and_tasks_share_a_producer(bench: Bench, make: Make) -> None:
    """Sync verbs in threads beside tasks: all is sent once, each caller in order."""
    producer = made(make)

    def thread(name: bytes) -> None:
        for number in range(100):
            producer.sync_producer.produce_sync("t", b"%s-%d" % (name, number))

    async def task(name: bytes) -> None:
        for number in range(100):
            await producer.produce("t", b"%s-%d" % (name, number))

    threads = [b"thread%d" % number for number in range(3)]
    tasks = [b"task%d" % number for number in range(10)]

    async def main() -> None:
        bench.limit = 10
        await asyncio.gather(
            *map(task, tasks), *[asyncio.to_thread(thread, each) for each in threads]
        )

    run(main(), within=40)
    sent = payloads(bench)
    assert len(sent) == len(set(sent)) == 1_300
    for name in [*threads, *tasks]:
        own = [each for each in sent if each.startswith(name + b"-")]
        assert own == [b"%s-%d" % (name, number) for number in range(100)]
