"""Ends with messages that were sent in tasks and are not delivered yet."""

from __future__ import annotations

import asyncio
import sys
import time

from tests.scenarios.aio_kit import make_async
from tests.scenarios.kit import TOPIC, WORDS, say

COUNT = 1_000
# With a linger, so that nothing is delivered by the end.
HELD = [
    make_async(kafka={"linger.ms": 500}, close_timeout="1s" if WORDS[1:] else "20s")
]


async def main(way: str) -> None:
    """Send, and end in that way."""
    for number in range(COUNT):
        await HELD[0].send(TOPIC, f"m-{number}")
    say(accepted=COUNT)
    if way == "sys.exit":
        sys.exit(3)
    if way == "exception":
        raise LookupError("the user's own")
    if way == "waiting":
        waiting = [
            asyncio.ensure_future(HELD[0].produce(TOPIC, f"m-w-{number}"))
            for number in range(50)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        say(accepted=50, left=len(waiting))
    if way == "dropped":
        HELD.clear()


say(ending=time.monotonic())
asyncio.run(main(WORDS[0]))
say(ending=time.monotonic())
