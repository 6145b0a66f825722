"""`flush`, awaited: it takes no thread while it waits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.loops import TICK, Waiter
from waterdrop_py._engine.reports.flush import PAUSE, push_now

if TYPE_CHECKING:
    from waterdrop_py._engine.assembly import Components
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py.aio._verbs import TaskVerbs


async def flush(components: Components, verbs: TaskVerbs, bound: float | None) -> int:
    """Send the buffer, and wait for all outcomes; how many there are not."""
    deadline = None if bound is None else clock.system_now() + bound
    if components.buffer:
        await verbs.flush_before(deadline)
    connection = components.connection
    connection.refuse_closed()
    client = connection.client
    lingers = connection.factory.lingers
    while not client.is_settled:
        now = clock.system_now()
        if deadline is not None and now >= deadline:
            break
        push = lingers and client.fatal is None
        if push:
            connection.runtime.workers.submit(partial(push_now, client))
        until = now + (PAUSE if push else TICK)
        await _wait_settled(client, until if deadline is None else min(until, deadline))
    return client.in_flight()


async def _wait_settled(client: Client, until: float) -> None:
    waiter = Waiter()
    client.add_flush(waiter)
    try:
        if not client.is_settled:
            await waiter.wait(until)
    finally:
        client.remove_flush(waiter)
