"""`close` inside asyncio: what waits is handed over first, and every task ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.aio.support import calls, full, made, opened, parked, payloads
from tests.looping import disconnected, outcomes, run, turns
from waterdrop_py.errors import ProducerClosedError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench


def test_what_waits_for_room_is_handed_over_first(bench: Bench, make: Make) -> None:
    """And delivered, within the bound."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 2)
        waiting = [
            asyncio.ensure_future(producer.produce("t", b"%d" % number))
            for number in range(6)
        ]
        await calls(producer, 6)
        closing = asyncio.ensure_future(producer.close(10))
        await turns()
        with pytest.raises(ProducerClosedError):
            await producer.produce("t", b"later")
        while not closing.done():
            if len(bench.clients) and not bench.client.closing:
                bench.client.ack(1)
            await asyncio.sleep(0.002)
        report = await closing
        assert report.complete
        assert (report.failed, report.undelivered) == (0, [])
        for each in await asyncio.gather(*waiting):
            assert each.error is None

    run(main())
    assert payloads(bench)[3:] == [b"%d" % number for number in range(6)]


@pytest.mark.parametrize("force", [False, True])
def test_what_finds_no_room_is_refused(bench: Bench, make: Make, force: bool) -> None:
    """`ProducerClosedError`, and nothing of it is sent; with force at once."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 2)
        waiting = [
            asyncio.ensure_future(producer.produce("t", b"lost")),
            asyncio.ensure_future(producer.send("t", b"lost")),
            asyncio.ensure_future(
                producer.send_many([{"topic": "t", "payload": b"lost"}])
            ),
        ]
        await calls(producer, 3)
        report = await producer.close(0.2, force=force)
        assert len(report.undelivered) == 2
        found = await outcomes(waiting)
        assert [type(each) for each in found] == [ProducerClosedError] * 3

    run(main())
    assert b"lost" not in payloads(bench)


def test_what_waits_for_a_client_as_it_closes(bench: Bench, make: Make) -> None:
    """Each is sent or refused, and no task waits on."""
    producer = made(make)

    async def main() -> None:
        with bench.park("open") as opening:
            waiting = [
                asyncio.ensure_future(producer.produce("t", b"%d" % number))
                for number in range(5)
            ]
            await parked(opening)
            closing = asyncio.ensure_future(producer.close(5))
            await turns()
            opening.go()
            found = await outcomes(waiting)
            await closing
        for payload, each in enumerate(found):
            if isinstance(each, BaseException):
                assert isinstance(each, ProducerClosedError)
                assert b"%d" % payload not in payloads(bench)

    run(main())


def test_closes_at_the_same_time_have_the_same_report(bench: Bench, make: Make) -> None:
    """Of tasks, and of a thread."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 2)
        closes = [asyncio.ensure_future(producer.close(5)) for _ in range(5)]
        sync = asyncio.ensure_future(asyncio.to_thread(producer.sync_producer.close, 5))
        await turns()
        bench.client.ack()
        reports = await asyncio.gather(*closes, sync)
        assert all(each == reports[0] for each in reports)
        assert reports[0].complete
        assert await producer.close() == reports[0]

    run(main())


@pytest.mark.parametrize("times", [1, 2, 20])
def test_a_cancelled_close_goes_on(bench: Bench, make: Make, times: int) -> None:
    """Also when it is cancelled over and over; a later one has its report."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 2)
        for _ in range(times):
            closing = asyncio.ensure_future(producer.close(10))
            await turns(3)
            closing.cancel()
            await turns(3)
            assert closing.cancelled()
            with pytest.raises(ProducerClosedError):
                await producer.send("t", b"later")
        bench.client.ack()
        report = await producer.close(10)
        assert report.complete
        assert report.delivered == 2

    run(main())
    assert bench.client.closed


@pytest.mark.parametrize("where", ["in the block", "as it closes"])
def test_a_cancelled_async_with_closes_all_the_same(
    bench: Bench, make: Make, where: str
) -> None:
    """The close goes on, and a later one has its report."""
    producer = made(make)

    async def main() -> None:
        inside = asyncio.Event()

        async def block() -> None:
            async with producer:
                await full(bench, producer, 2)
                inside.set()
                if where == "in the block":
                    await asyncio.sleep(60)

        task = asyncio.ensure_future(block())
        await inside.wait()
        await turns(3)
        task.cancel()
        await turns(3)
        bench.client.ack()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()
        assert (await producer.close(5)).complete

    run(main())


def test_a_native_block_holds_the_client_until_it_ends(
    bench: Bench, make: Make
) -> None:
    """And a block that is cancelled on entering holds nothing."""
    producer = made(make)

    async def main() -> None:
        with bench.park("open") as opening:

            async def block() -> None:
                async with producer.native():
                    await asyncio.sleep(60)

            task = asyncio.ensure_future(block())
            await parked(opening)
            task.cancel()
            await turns(3)
            assert task.cancelled()
            opening.go()
        await opened(producer)
        async with producer.native() as client:
            opened_client: Any = client
            assert opened_client is bench.client
            assert [r.code for r in producer.explain_idle().reasons].count("pinned")
            assert not await producer.disconnect()
        await disconnected(producer)  # the first block may be ending on its thread

    run(main())
