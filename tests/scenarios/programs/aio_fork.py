"""Forks with a producer that tasks use: between two loops, or inside a running one."""

from __future__ import annotations

import asyncio
import os

from tests.scenarios.aio_kit import make_async
from tests.scenarios.kit import TOPIC, WORDS, say, wait_for_child

PRODUCER = make_async(close_before_fork=None)


def child() -> None:
    """A loop of its own, and a client of its own."""

    async def main() -> None:
        assert str(PRODUCER.status) == "configured"
        for number in range(20):
            assert (await PRODUCER.produce(TOPIC, f"child-{number}")).error is None
        handles = [await PRODUCER.send(TOPIC, f"child-s-{n}") for n in range(20)]
        for handle in handles:
            assert (await handle).error is None
        assert (await PRODUCER.close(10)).complete
        say(child_opens=PRODUCER.stats().opens)

    asyncio.run(asyncio.wait_for(main(), 20))


def forked() -> int:
    """The child's id; the child itself does not return."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        child()
        code = 0
    finally:
        os._exit(code)


async def parent(name: str) -> None:
    """Sends before and after."""
    tasks = [
        asyncio.ensure_future(PRODUCER.produce(TOPIC, f"parent-{name}-{number}"))
        for number in range(50)
    ]
    await asyncio.sleep(0)
    pid = forked() if name == "inside" else 0
    for report in await asyncio.gather(*tasks):
        assert report.error is None
    if pid:
        say(code=await asyncio.to_thread(wait_for_child, pid, 30))


async def end() -> None:
    """Close."""
    assert (await PRODUCER.close(10)).complete


if WORDS[0] == "inside":
    asyncio.run(parent("inside"))
else:
    asyncio.run(parent("before"))
    say(code=wait_for_child(forked(), 30))
    asyncio.run(parent("after"))
asyncio.run(end())
