"""What tests of pools for tasks share, beside `tests.looping`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from tests.looping import cancelled, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from waterdrop_py import AsyncProducerPool

T = TypeVar("T")


async def awaiting(awaitable: Any) -> Any:
    """Its result: what tasks are made of."""
    return await awaitable


async def start(
    awaitable: Any, waits: Callable[[], object], name: str | None = None
) -> asyncio.Task[Any]:
    """A task for that, which is begun, and waits."""
    task = asyncio.create_task(awaiting(awaitable), name=name)
    await asyncio.sleep(0)
    await eventually(waits)
    return task


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel that task, and see its end."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that must not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError("it suspended")


async def whole_again(pool: AsyncProducerPool, leases: int) -> None:
    """All leases of the pool can be taken and given back, and each request was counted
    once."""
    taken = [await pool.acquire(5) for _ in range(leases)]
    assert pool.stats().leased == leases
    for lease in taken:
        lease.release()
    stats = pool.stats()
    assert (stats.leased, stats.waiting, stats.available) == (0, 0, leases)
    assert stats.requests == stats.granted + stats.timed_out + stats.refused
    await eventually(lambda: pool.stats().draining == 0, "what was retired is closed")


async def each_suspension(
    make: Callable[[], Coroutine[Any, Any, Any]],
    check: Callable[[], Coroutine[Any, Any, object]],
) -> int:
    """Run what `make` gives, cancelled at its first suspension, its second, and so on
    until it has no further one, each at once and late; `check` after each. How many
    there were."""
    for at in range(1, 100):
        reached = []
        for late in (False, True):
            found = await cancelled(make(), at, late=late)
            assert isinstance(found.raised, asyncio.CancelledError) == found.reached
            if not found.reached and found.raised is not None:
                raise found.raised
            await check()
            reached.append(found.reached)
        if not any(reached):
            return at - 1
    raise AssertionError("it never ends")
