"""`flush`, awaited: it takes no thread while it waits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.loops import TICK, Waiter
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.reports.flush import PAUSE, push_now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterdrop_py._engine.assembly import Components
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.produce.send_queue import SendQueue
    from waterdrop_py.aio._verbs import TaskVerbs

_LOOK: Final = 0.01
"""Seconds between two looks at messages that no caller waits for."""


async def flush(components: Components, verbs: TaskVerbs, bound: float | None) -> int:
    """Send the buffer, and wait for all outcomes; how many there are not."""
    return await flush_all([(components, verbs)], bound)


async def flush_all(
    producers: Sequence[tuple[Components, TaskVerbs]], bound: float | None
) -> int:
    """The same for many at a time. What one raises comes out when all have ended."""
    deadline = None if bound is None else clock.system_now() + bound
    sent: list[tuple[Connection, SendQueue]] = []
    errors: list[Exception] = []
    for components, verbs in producers:
        connection = components.connection
        try:
            if components.buffer:
                await verbs.flush_before(deadline)
            connection.refuse_closed()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)
        else:
            sent.append((connection, verbs.queue))
    await _handed_over([queue for _, queue in sent], deadline)
    clients = [(each.client, each.factory.lingers) for each, _ in sent]
    await _settled(clients, deadline)
    if errors:
        raise errors[0]
    left = sum(client.in_flight() for client, _ in clients)
    return left + sum(queue.left_alone for _, queue in sent)


async def _handed_over(queues: list[SendQueue], deadline: float | None) -> None:
    """Wait until the clients have what goes on without its callers, or until
    `deadline`."""
    while any(queue.left_alone for queue in queues):
        now = clock.system_now()
        if deadline is not None and now >= deadline:
            return
        until = now + _LOOK
        await Waiter().wait(until if deadline is None else min(until, deadline))


async def _settled(clients: list[tuple[Client, bool]], deadline: float | None) -> None:
    """Wait until all are settled, or until `deadline`. No message waits out its linger,
    as far as the second of each pair says that it would."""
    push: Future[None] | None = None
    left = clients
    while left := [each for each in left if not each[0].is_settled]:
        now = clock.system_now()
        if deadline is not None and now >= deadline:
            return
        lingering = [
            client for client, lingers in left if lingers and client.fatal is None
        ]
        if lingering and (push is None or push.done):
            push = Future(partial(_push, lingering))
            RUNTIME.workers.submit(push)
        until = now + (PAUSE if lingering else TICK)
        until = until if deadline is None else min(until, deadline)
        await _wait_settled(left[0][0], until)


def _push(clients: list[Client]) -> None:
    for client in clients:
        push_now(client)


async def _wait_settled(client: Client, until: float) -> None:
    waiter = Waiter()
    client.add_flush(waiter)
    try:
        if not client.is_settled:
            await waiter.wait(until)
    finally:
        client.remove_flush(waiter)
