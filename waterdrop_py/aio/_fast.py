"""The verbs of one message, in one coroutine and, for `produce`, with one future.

As in `hot_path`, what runs for each message stands in one piece: each coroutine less is
a tenth of what `produce` costs the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from waterdrop_py._engine.client.pending import client_of, overdue
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.loops import bridge_of
from waterdrop_py._engine.produce import hot_path
from waterdrop_py._settings.answering import ABSENT, refuse_send
from waterdrop_py._settings.arguments import seconds
from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.message import Message

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from itertools import count

    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.produce.send_queue import SendQueue
    from waterdrop_py.aio._verbs import TaskVerbs
    from waterdrop_py.delivery_report import DeliveryReport
    from waterdrop_py.message import HeadersInput, Key

    class SenderFields(hot_path.SenderFields, Protocol):
        """What the fast path reads of an `AsyncSender`."""

        _max_wait: float
        _queue: SendQueue
        _sends: count[int]
        _task_verbs: TaskVerbs


TURN: Final = 250
"""Messages that a task sends before the loop runs: about a millisecond."""
FRESH: Final = 0.5
"""Seconds after its last report in which no client can have become stale."""


async def send(
    self: SenderFields,
    topic: Any = ABSENT,
    payload: Any = ABSENT,
    *extra: object,
    key: Key = None,
    partition: int | None = None,
    partition_key: Key = None,
    timestamp: int | datetime | None = None,
    headers: HeadersInput = None,
    label: Any = None,
    **wrong: object,
) -> DeliveryHandle:
    """Run as `AsyncSender.send`, which documents it."""
    if extra or wrong or topic is ABSENT or payload is ABSENT:
        refuse_send(send, self, topic, payload, *extra, **wrong)
    connection: Connection = self._connection
    if self._queue.idle and not connection.shutdowns:
        handle = hot_path.produce_async(
            self,
            topic,
            payload,
            key=key,
            partition=partition,
            partition_key=partition_key,
            timestamp=timestamp,
            headers=headers,
            label=label,
        )
        if type(handle) is DeliveryHandle:
            if next(self._sends) % TURN == 0:
                await asyncio.sleep(0)
            return handle
    handle = await self._task_verbs.send(
        Message(
            topic, payload, key, partition, partition_key, timestamp, headers, label
        )
    )
    if next(self._sends) % TURN == 0:
        await asyncio.sleep(0)
    return handle


async def produce(  # noqa: PLR0915 - in one piece
    self: SenderFields,
    topic: Any = ABSENT,
    payload: Any = ABSENT,
    *extra: object,
    key: Key = None,
    partition: int | None = None,
    partition_key: Key = None,
    timestamp: int | datetime | None = None,
    headers: HeadersInput = None,
    label: Any = None,
    timeout: float | timedelta | None = None,
    **wrong: object,
) -> DeliveryReport:
    """Run as `AsyncSender.produce`, which documents it.

    1. The count of outcomes is read, and the message is handed over.
    2. The future is added to `client.awaits`. From here on, its report wakes it.
    3. If the count has changed by now, the report may have come before 2
       (test_a_report_that_comes_before_its_task_waits).
    """
    if extra or wrong or topic is ABSENT or payload is ABSENT:
        refuse_send(produce, self, topic, payload, *extra, **wrong)
    del extra, wrong  # 20 000 tasks keep a dict each else, for the garbage collector
    bound = None if timeout is None else seconds("timeout", timeout)
    connection: Connection = self._connection
    if self._queue.idle and not connection.shutdowns:
        client = connection.client
        started = clock.system_now()
        if client.attended and client.quiet and started - client.progress_at < FRESH:
            client.resume()
        before = client.acknowledged + client.failed
        handle = hot_path.produce_async(
            self,
            topic,
            payload,
            key=key,
            partition=partition,
            partition_key=partition_key,
            timestamp=timestamp,
            headers=headers,
            label=label,
        )
        if type(handle) is DeliveryHandle:
            client = client_of(handle)
            loop = asyncio.get_running_loop()
            future: asyncio.Future[bool] = loop.create_future()
            client.awaits[handle] = future
            if client.acknowledged + client.failed != before and handle.done():
                client.awaits.pop(handle, None)
            else:
                bridge = bridge_of(loop)
                wait = self._max_wait if bound is None else bound
                slot = bridge.expire(future, started + wait)
                if not client.attended:
                    client.attend(client)
                try:
                    in_time = await future
                finally:
                    bridge.keep(future, slot)
                    client.awaits.pop(handle, None)
                if not in_time:
                    limit = "max_wait_timeout" if bound is None else "timeout"
                    late = overdue(handle, wait, limit)
                    self._task_verbs.raise_undelivered(handle, late)
            return self._task_verbs.delivered(handle, started)
    return await self._task_verbs.produce(
        Message(
            topic, payload, key, partition, partition_key, timestamp, headers, label
        ),
        bound,
    )
