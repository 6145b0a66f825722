"""Producers of tasks on a bench, and what the bench was given."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.looping import BOUND, eventually
from waterdrop_py import AsyncProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.concurrency.support import Make
    from tests.doubles import Bench, Park


def made(make: Make, **options: Any) -> AsyncProducer:
    """One without subscribers, which takes every short cut."""
    return AsyncProducer(make.quiet(**options))


def payloads(bench: Bench) -> list[bytes]:
    """What the clients have taken, in order."""
    return [bytes(payload) for _, payload in bench.sent]


async def opened(producer: AsyncProducer) -> AsyncProducer:
    """The producer, with an open client that has nothing left to do."""
    await producer.produce("t", b"first")
    return producer


async def parked(park: Park) -> None:
    """Wait until a thread is parked there; it is never the loop's."""
    await asyncio.to_thread(park.entered)


async def full(bench: Bench, producer: AsyncProducer, limit: int) -> None:
    """Fill the queue of the client, which takes `limit` messages from now on."""
    await opened(producer)
    bench.auto, bench.limit = False, limit
    for number in range(limit):
        await producer.send("t", b"full-%d" % number)


async def calls(producer: AsyncProducer, count: int) -> int:
    """Wait until so many messages wait; what `explain_idle` says of them."""

    def waiting() -> int:
        reasons = producer.explain_idle().reasons
        return sum(each.count for each in reasons if each.code == "call")

    await eventually(lambda: waiting() >= count, f"{count} messages wait")
    return waiting()


class OtherLoop:
    """A loop in a thread of its own, until the block ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.told: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, told: self.told.append(told))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> OtherLoop:
        self._thread.start()
        return self

    def submit(self, work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Run it there; what the calling loop awaits for the outcome."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        return asyncio.wrap_future(future)

    def call(self, fn: Callable[[], object]) -> None:
        """Call it there."""
        self.loop.call_soon_threadsafe(fn)

    def stop(self) -> None:
        """Stop the loop, whatever its tasks wait for."""
        if self._thread.is_alive():
            self.call(self.loop.stop)
            self._thread.join(BOUND)

    def end(self) -> None:
        """Stop and close it."""
        self.stop()
        self.loop.close()

    def __exit__(self, *_: object) -> None:
        self.end()


@contextmanager
def counted_wakeups(loop: asyncio.AbstractEventLoop) -> Iterator[list[Any]]:
    """What `loop.call_soon_threadsafe` is called with inside the block."""
    called: list[Any] = []
    plain = loop.call_soon_threadsafe

    def counting(callback: Any, *arguments: Any, **options: Any) -> Any:
        called.append(callback)
        return plain(callback, *arguments, **options)

    vars(loop)["call_soon_threadsafe"] = counting
    try:
        yield called
    finally:
        del vars(loop)["call_soon_threadsafe"]
