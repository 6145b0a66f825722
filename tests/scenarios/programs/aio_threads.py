"""Counts the library's threads while many tasks wait, and after."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.looping import eventually, library_threads
from tests.scenarios.aio_kit import make_async
from tests.scenarios.kit import TOPIC, say

if TYPE_CHECKING:
    from waterdrop_py import AsyncProducer

PRODUCERS, TASKS = 20, 50


async def main() -> None:
    """Producers whose tasks wait for reports and for room; then none of it."""
    kafka = {"queue.buffering.max.messages": 30, "linger.ms": 300}
    options: dict[str, Any] = {"kafka": kafka, "wait_timeout_on_queue_full": 60_000}
    producers = [make_async(**options) for _ in range(PRODUCERS)]
    assert not library_threads()
    for producer in producers:
        await producer.connect()
    await asyncio.sleep(0.2)
    most = 0
    tasks = [
        asyncio.ensure_future(producer.produce(TOPIC, f"m-{one}-{number}"))
        for one, producer in enumerate(producers)
        for number in range(TASKS)
    ]
    while not all(task.done() for task in tasks):
        most = max(most, len(library_threads()))
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    say(most=most, accepted=len(tasks))
    await idle(producers)
    started = time.monotonic()
    await asyncio.gather(*[producer.close() for producer in producers])
    await eventually(lambda: not library_threads())
    say(gone_closed=time.monotonic() - started)


async def idle(producers: list[AsyncProducer]) -> None:
    """They stay open; the thread that looks at open clients once a second is left."""
    started = time.monotonic()
    await eventually(lambda: library_threads() == ["waterdrop-poller"])
    say(gone_open=time.monotonic() - started)
    assert all(producer.is_connected for producer in producers)


asyncio.run(main())
say(left=[each.name for each in threading.enumerate()], pid=os.getpid())
