"""A loop is closed while its tasks wait for reports, for room and for a client; the
producer goes on, with another loop."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from tests.looping import eventually, left_behind
from tests.scenarios.aio_kit import exercise, make_async
from tests.scenarios.kit import SERVERS, TOPIC, say

LEFT: list[asyncio.Task[Any]] = []


def main() -> None:
    """Two producers: one with a short queue, one whose client is not open yet."""
    small = {"queue.buffering.max.messages": 20, "linger.ms": 200}
    crowded = make_async(SERVERS, kafka=small, wait_timeout_on_queue_full=60_000)
    fresh = make_async()
    dead = asyncio.new_event_loop()
    dead.run_until_complete(begin(crowded, fresh))
    dead.close()
    left_behind(LEFT)
    gc.collect()
    asyncio.run(go_on(crowded, fresh))


async def begin(crowded: Any, fresh: Any) -> None:
    """Start tasks, and leave them waiting."""
    loop = asyncio.get_running_loop()
    await crowded.produce(TOPIC, "m-open")
    LEFT.extend(
        loop.create_task(crowded.produce(TOPIC, f"d-{number}")) for number in range(200)
    )
    LEFT.append(loop.create_task(fresh.produce(TOPIC, "d-fresh")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def go_on(crowded: Any, fresh: Any) -> None:
    """What was left harms nobody."""
    await crowded.produce(TOPIC, "m-crowded")
    await exercise(fresh, "fresh")
    await eventually(lambda: crowded.queue_size == 0)
    for producer in (crowded, fresh):
        codes = {reason.code for reason in producer.explain_idle().reasons}
        assert "call" not in codes, producer.explain_idle()
        report = await producer.close(10)
        assert report.complete
        say(failed=report.failed)
    say(accepted=2)


main()
