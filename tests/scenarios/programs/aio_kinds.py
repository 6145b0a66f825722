"""Every verb on loops of every kind; what runs them is the last word."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.looping import eventually
from tests.scenarios.aio_kit import exercise, loops, make_async, tell_of_holds
from tests.scenarios.kit import TOPIC, WORDS, say


def runs() -> None:
    """Two `asyncio.run` one after another; a handle of the first in the second."""
    producer = make_async()
    handles: list[Any] = []

    async def first() -> None:
        await exercise(producer, "first")
        handles.append(await producer.send(TOPIC, "m-handle"))

    async def second() -> None:
        assert (await handles[0]).error is None
        await exercise(producer, "second")
        await producer.close()

    asyncio.run(first())
    asyncio.run(second())
    say(accepted=1)


def threads() -> None:
    """Two loops in two threads at the same time."""
    producer = make_async()

    async def work(name: str) -> None:
        tell_of_holds()
        for number in range(3):
            await exercise_beside(name, number)

    async def exercise_beside(name: str, number: int) -> None:
        # The other loop's messages may keep the client from a disconnect.
        prefix = f"m-{name}-{number}-"
        handles = [await producer.send(TOPIC, f"{prefix}{n}") for n in range(200)]
        for handle in handles:
            assert (await handle).error is None
        await producer.disconnect()
        await asyncio.gather(
            *[producer.produce(TOPIC, f"{prefix}g-{n}") for n in range(100)]
        )
        say(accepted=300)

    running = [
        threading.Thread(target=lambda name=name: asyncio.run(work(name)))
        for name in ("left", "right")
    ]
    for each in running:
        each.start()
    for each in running:
        each.join()
    asyncio.run(producer.close())


async def whole(name: str) -> None:
    """A producer of its own, from its first message to its close."""
    async with make_async() as producer:
        await exercise(producer, name)


def anyio_() -> None:
    """anyio's task groups and cancel scopes."""
    import anyio

    async def main() -> None:
        async with make_async() as producer:
            await exercise(producer, "anyio")
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(producer.produce, TOPIC, f"m-group-{number}")
            with anyio.move_on_after(0):
                await producer.produce(TOPIC, "c-never-or-once")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await producer.produce(TOPIC, "c-cancelled")
                raise AssertionError("it was cancelled")
            with anyio.fail_after(10):
                await producer.produce(TOPIC, "m-in-time")
        say(accepted=21)

    anyio.run(main)


def interrupted() -> None:
    """Ctrl-C while tasks wait; the next `asyncio.run` goes on with the producer."""
    import signal

    producer = make_async()

    async def first() -> None:
        tell_of_holds()
        handles = [await producer.send(TOPIC, f"m-int-{n}") for n in range(100)]
        loop = asyncio.get_running_loop()
        loop.call_soon(signal.raise_signal, signal.SIGINT)
        await asyncio.gather(*[_awaited(each) for each in handles])
        await asyncio.sleep(10)

    async def second() -> None:
        await eventually(lambda: producer.queue_size == 0)
        await exercise(producer, "second")
        await producer.close()

    try:
        asyncio.run(first())
    except KeyboardInterrupt:
        say(interrupted=True)
    asyncio.run(second())
    say(accepted=100)


async def _awaited(handle: Any) -> Any:
    return await handle


KINDS = {
    "runs": runs,
    "threads": threads,
    **loops(whole),
    "anyio": anyio_,
    "interrupted": interrupted,
}
KINDS[WORDS[0]]()
