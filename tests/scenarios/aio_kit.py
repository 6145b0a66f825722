"""What the programs about asyncio share: a producer, work with every verb, and kinds of
loops to do it on."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.looping import disconnected
from tests.scenarios.kit import SERVERS, TOPIC, make_producer, say
from waterdrop_py import AsyncProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Whole = Callable[[str], Coroutine[Any, Any, None]]


def make_async(servers: str = SERVERS, **options: Any) -> AsyncProducer:
    """A front end of `kit.make_producer`."""
    return AsyncProducer(make_producer(servers, **options))


async def exercise(producer: AsyncProducer, name: str) -> None:
    """Use every verb; tells how many messages were accepted."""
    tell_of_holds()
    prefix = f"m-{name}-"
    assert await producer.connect() is producer
    report = await producer.produce(TOPIC, f"{prefix}one", headers={"a": b"b"})
    assert report.error is None
    handles = [await producer.send(TOPIC, f"{prefix}{n}") for n in range(100)]
    for each in await asyncio.gather(*handles):
        assert each.error is None
    many = [{"topic": TOPIC, "payload": f"{prefix}many-{n}"} for n in range(10)]
    assert len(await producer.produce_many(many)) == 10
    reports = await asyncio.gather(
        *[producer.produce(TOPIC, f"{prefix}at-once-{n}") for n in range(50)]
    )
    assert len(reports) == 50
    producer.buffer(TOPIC, f"{prefix}buffered")
    assert len(await producer.flush_buffer()) == 1
    assert await producer.flush(10) == 0
    assert await producer.partition_count(TOPIC) == 3
    assert (await producer.health(deep=True)).healthy
    async with producer.native() as client:
        assert client is not None
    await cancel_some(producer, prefix)
    await disconnected(producer)
    await producer.produce(TOPIC, f"{prefix}again")
    say(accepted=100 + 10 + 50 + 3)


def tell_of_holds() -> None:
    """Have asyncio's debug mode print what holds the loop for a second. By its default
    of 0.1 s it prints what another process has taken, too."""
    asyncio.get_running_loop().slow_callback_duration = 1.0


async def cancel_some(producer: AsyncProducer, prefix: str) -> None:
    """Cancel tasks that wait; what they sent may arrive or not, as `c-...`."""
    tasks: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(producer.produce(TOPIC, f"c-{prefix}{n}"))
        for n in range(20)
    ]
    await asyncio.sleep(0)
    for each in tasks[::2]:
        each.cancel()
    await asyncio.wait(tasks)
    for each in tasks[1::2]:
        assert each.result().error is None


def loops(whole: Whole) -> dict[str, Callable[[], None]]:
    """Runs `whole`, which takes a name of its own each time, on a loop of each kind."""
    return {
        "uvloop": partial(_on_uvloop, whole),
        "eager": partial(_eagerly, whole),
        "debug": partial(_in_debug_mode, whole),
    }


def _on_uvloop(whole: Whole) -> None:
    """uvloop instead of asyncio's own loop, twice."""
    import uvloop

    for name in ("one", "two"):
        loop = uvloop.new_event_loop()
        loop.run_until_complete(whole(name))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _eagerly(whole: Whole) -> None:
    """Tasks begin to run as they are made (Python 3.12)."""

    async def main() -> None:
        factory = asyncio.eager_task_factory  # type: ignore[attr-defined]
        asyncio.get_running_loop().set_task_factory(factory)
        await whole("eager")

    asyncio.run(main())


def _in_debug_mode(whole: Whole) -> None:
    """Slow callbacks and calls off the loop would be told."""
    asyncio.run(whole("debug"), debug=True)
