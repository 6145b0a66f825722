"""Handles inside asyncio: awaited, wrapped, and given up by one waiter of several."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND
from waterdrop_py._engine.client import watchers
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.embedded.support import MakeProducer
    from waterdrop_py import DeliveryHandle
    from waterdrop_py.testing import EmbeddedCluster


def test_await_gives_the_report(make_producer: MakeProducer, topic: str) -> None:
    """Before and after it has come, and as often as one asks."""
    producer = make_producer()

    async def main() -> None:
        handle = producer.produce_async(topic, b"x", label="mine")
        reports = [await handle, await handle]
        assert reports[0] == reports[1]
        assert reports[0].label == "mine"

    asyncio.run(asyncio.wait_for(main(), BOUND))


def test_await_raises_the_delivery_error(
    make_producer: MakeProducer, dead: str
) -> None:
    """The ProduceError that `result()` raises."""
    producer = make_producer(dead, kafka={"message.timeout.ms": 300})

    async def main() -> None:
        handle = producer.produce_async("any", b"x")
        for _ in range(2):
            with pytest.raises(ProduceError) as raised:
                await handle
            assert raised.value.code == "msg_timed_out"

    asyncio.run(asyncio.wait_for(main(), BOUND))


def test_gathering_a_thousand(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """All at once, in order; nothing stays behind."""
    producer = make_producer()

    async def main() -> list[Any]:
        handles = [producer.produce_async(topic, b"x", label=n) for n in range(1_000)]
        return await asyncio.gather(*handles)

    reports = asyncio.run(asyncio.wait_for(main(), BOUND))
    assert [report.label for report in reports] == list(range(1_000))
    assert not watchers.WATCHED


def test_the_loop_is_not_blocked(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Other tasks run while the report is on its way."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_500)

    async def main() -> None:
        handle = producer.produce_async(topic, b"x", partition=0)
        waiting = asyncio.ensure_future(_awaited(handle))
        ticks, longest, last = 0, 0.0, time.monotonic()
        while not waiting.done():
            await asyncio.sleep(0.005)
            ticks, now = ticks + 1, time.monotonic()
            longest, last = max(longest, now - last), now
        assert ticks > 10
        assert longest < 1
        assert (await waiting).error is None

    asyncio.run(asyncio.wait_for(main(), BOUND))


async def _awaited(handle: DeliveryHandle) -> Any:
    return await handle


def test_two_loops_in_sequence(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A loop that ended while it waited harms neither the delivery nor the next one."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_500)
    handles: list[DeliveryHandle] = []

    async def impatient() -> None:
        handles.append(producer.produce_async(topic, b"x", partition=0))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_awaited(handles[0]), 0.05)

    asyncio.run(impatient())
    report = asyncio.run(asyncio.wait_for(_awaited(handles[0]), BOUND))
    assert report.error is None
    assert asyncio.run(_awaited(handles[0])) == report


def test_cancelling_one_waiter_leaves_the_others(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """The delivery goes on, the second waiter gets it, nothing is left behind."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_500)

    async def main() -> None:
        handle = producer.produce_async(topic, b"x", partition=0)
        first, second = (asyncio.ensure_future(_awaited(handle)) for _ in range(2))
        await asyncio.sleep(0.02)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not handle.done()
        assert (await second).error is None

    asyncio.run(asyncio.wait_for(main(), BOUND))
    assert not watchers.WATCHED


def test_a_wrapped_future_can_be_awaited_and_given_up(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """`asyncio.wrap_future(handle.as_future())`; giving it up cancels no delivery."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_000)

    async def main() -> None:
        handle = producer.produce_async(topic, b"x", partition=0)
        given_up = asyncio.wrap_future(handle.as_future())
        given_up.cancel()
        report = await asyncio.wrap_future(handle.as_future())
        assert report == await handle
        assert report.error is None

    asyncio.run(asyncio.wait_for(main(), BOUND))


def test_awaiting_across_an_idle_disconnect(
    make_producer: MakeProducer, topic: str
) -> None:
    """A handle outlives the client that sent it."""
    producer = make_producer()

    async def main() -> None:
        handle = producer.produce_async(topic, b"x")
        await handle
        assert producer.disconnect()
        assert (await handle).offset == 0

    asyncio.run(asyncio.wait_for(main(), BOUND))
