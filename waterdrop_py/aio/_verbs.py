"""The sending verbs, awaited: hand over, wait for reports, and emit the same events.

What a message is, what it is refused for, and what is told of it are rules of
`_engine/produce`. Here is only how a task waits.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from math import inf
from typing import TYPE_CHECKING, Any, Final, NoReturn

from waterdrop_py._engine.client.awaiting import wait_in_task
from waterdrop_py._engine.client.pending import (
    client_of,
    overdue,
    refuse,
    subject_of,
)
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.loops import TICK, Waiter
from waterdrop_py._engine.produce import outcomes
from waterdrop_py._engine.produce.queued import Queued
from waterdrop_py._engine.produce.validation import listed
from waterdrop_py._engine.produce.verbs import (
    PRODUCE_ASYNC,
    PRODUCE_MANY_ASYNC,
    PRODUCE_MANY_SYNC,
    PRODUCE_SYNC,
)
from waterdrop_py.aio._transaction import TaskBlock
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    ProduceError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waterdrop_py._engine.assembly import Components
    from waterdrop_py._engine.produce.verbs import Filling
    from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
    from waterdrop_py.message import Message, MessageInput

STEP: Final = 500
"""Messages of a batch between two turns of the loop, where none is handed over."""

SOON: Final = 0.001
"""Seconds until the next look at a message that is just being handed over."""


class TaskVerbs:
    """What the sending coroutines do, for any loop. Thread-safe, no lock."""

    __slots__ = ("_components", "_max_wait", "_verbs", "queue")

    def __init__(self, components: Components) -> None:
        self._components = components
        self._verbs = components.verbs
        self._max_wait = components.max_wait_timeout
        self.queue = components.send_queue()

    def block(self, deadline: float = inf) -> AbstractAsyncContextManager[Any]:
        """The context of one call: its own transaction, or nothing."""
        transactions = self._components.transactions
        if transactions is None:
            return nullcontext()
        return TaskBlock(transactions, deadline)

    # -- one message -------------------------------------------------------

    async def send(self, message: Message) -> DeliveryHandle:
        """Hand one message over."""
        message, handle = self._verbs.filled(message)
        emitter = self._components.emitter
        try:
            async with self.block():
                await self._hand_over([handle], PRODUCE_ASYNC, None)
        except BaseException as error:
            self._verbs.refused(handle, PRODUCE_ASYNC, error, message)
            raise
        outcomes.tell_sent(emitter, handle)
        return handle

    async def produce(self, message: Message, timeout: float | None) -> DeliveryReport:
        """Hand one message over, and wait for its report."""
        message, handle = self._verbs.filled(message)
        started = clock.system_now()
        deadline = started + (self._max_wait if timeout is None else timeout)
        emitter = self._components.emitter
        try:
            async with self.block(deadline):
                await self._hand_over([handle], PRODUCE_SYNC, deadline)
                report = await self._report(handle, started, timeout)
        except BaseException as error:
            self._verbs.refused(handle, PRODUCE_SYNC, error, message)
            raise
        outcomes.tell_delivered(emitter, report, started)
        return report

    def delivered(self, handle: DeliveryHandle, started: float) -> DeliveryReport:
        """The report of a message that has its outcome; emits and raises otherwise."""
        try:
            report = handle.result(0)
        except ProduceError as error:
            self.raise_undelivered(handle, error)
        outcomes.tell_delivered(self._components.emitter, report, started)
        return report

    def raise_undelivered(
        self, handle: DeliveryHandle, error: ProduceError
    ) -> NoReturn:
        """Emit and raise `error` of a message that was handed over."""
        self._components.emitter.error(PRODUCE_SYNC, error, message=handle.message)
        raise error

    async def _report(
        self, handle: DeliveryHandle, started: float, timeout: float | None
    ) -> DeliveryReport:
        if not handle.done():
            bound = self._max_wait if timeout is None else timeout
            client = client_of(handle)
            if not await wait_in_task(client, handle, started + bound):
                limit = "max_wait_timeout" if timeout is None else "timeout"
                raise overdue(handle, bound, limit)
        return handle.result(0)

    # -- many --------------------------------------------------------------

    async def send_many(
        self, messages: Iterable[MessageInput], *, null: bool = False
    ) -> list[DeliveryHandle]:
        """Hand a batch over. `null`: tombstones."""
        handles = await self._all_filled(messages, null=null)
        try:
            async with self.block():
                await self._hand_all_over(handles, PRODUCE_MANY_ASYNC, None)
        except BaseException as error:
            refuse(handles, error)
            raise
        outcomes.tell_all_sent(self._components.emitter, handles)
        return handles

    async def produce_many(
        self, messages: Iterable[MessageInput], *, null: bool = False
    ) -> list[DeliveryReport]:
        """Hand a batch over, and wait for all its reports. `null`: tombstones."""
        handles = await self._all_filled(messages, null=null)
        started = clock.system_now()
        try:
            async with self.block():
                await self._send_and_wait(handles)
        except BaseException as error:
            refuse(handles, error)
            raise
        outcomes.tell_all_delivered(self._components.emitter, handles, started)
        return await self._reports(handles)

    async def _all_filled(
        self, messages: Iterable[MessageInput], *, null: bool
    ) -> list[DeliveryHandle]:
        return await _filled(
            self._verbs.filling(listed(messages), null=null, step=STEP)
        )

    async def _send_and_wait(self, handles: list[DeliveryHandle]) -> None:
        deadline = clock.system_now() + self._max_wait
        await self._hand_all_over(handles, PRODUCE_MANY_SYNC, deadline)
        failure = await self._first_failure(handles, deadline)
        if failure is not None:
            emitter = self._components.emitter
            outcomes.raise_undelivered(emitter, failure, handles, PRODUCE_MANY_SYNC)

    async def _first_failure(
        self, handles: list[DeliveryHandle], deadline: float
    ) -> ProduceError | None:
        """Wait for every handle. The first error, in input order."""
        for index, handle in enumerate(handles, 1):
            if not handle.done():
                if not await wait_in_task(client_of(handle), handle, deadline):
                    return overdue(handle, self._max_wait, "max_wait_timeout")
            elif index % STEP == 0:
                await asyncio.sleep(0)
        return outcomes.first_error(handles)

    @staticmethod
    async def _reports(handles: list[DeliveryHandle]) -> list[DeliveryReport]:
        reports = []
        for index, handle in enumerate(handles, 1):
            reports.append(handle.result(0))
            if index % STEP == 0:
                await asyncio.sleep(0)
        return reports

    async def flush_buffer(self) -> list[DeliveryReport]:
        """Send the buffer, and wait for all reports."""
        flusher = self._components.flusher
        started = clock.system_now()
        flush = flusher.begin()
        try:
            handles = await _filled(flush.filling(STEP))
            if handles:
                async with self.block():
                    await self._send_and_wait(handles)
        except BaseException as error:
            flush.put_back(error)
            raise
        flusher.tell_flushed("buffer.flushed_sync", handles, started)
        return await self._reports(handles)

    async def flush_before(self, deadline: float | None) -> None:
        """Send the buffer, until `deadline` at most."""
        flusher = self._components.flusher
        started = clock.system_now()
        flush = flusher.begin()
        try:
            handles = await _filled(flush.filling(STEP))
            if handles:
                async with self.block():
                    await self._hand_all_over(handles, PRODUCE_MANY_ASYNC, deadline)
        except BaseException as error:
            flush.put_back(error)
            raise
        flusher.tell_flushed("buffer.flushed_async", handles, started)

    # -- handing over ------------------------------------------------------

    async def _hand_all_over(
        self, handles: list[DeliveryHandle], verb: str, deadline: float | None
    ) -> None:
        """Hand a batch over; its error says how much of it was."""
        if not handles:
            return
        try:
            await self._hand_over(handles, verb, deadline)
        except ProduceError as failure:
            count = sum(client_of(handle) is not None for handle in handles)
            if verb == PRODUCE_MANY_SYNC and deadline is not None:
                await self._first_failure(handles[:count], deadline)
            emitter = self._components.emitter
            outcomes.raise_refused(emitter, failure, handles, count, verb)

    async def _hand_over(
        self, handles: list[DeliveryHandle], verb: str, deadline: float | None
    ) -> None:
        """Have the client queue all of them, in their turn. Withdraws what is left of
        them where it is cancelled. Where its time is over while the client is opened,
        they are sent all the same, as by a thread that opens it."""
        if len(handles) == 1 and self.queue.send_at_once(handles[0]):
            return
        transactions = self._components.transactions
        wanted = None if transactions is None else transactions.running_is_open()
        waiter = Waiter()
        entry = Queued(handles, verb, deadline, waiter, wanted)
        queue = self.queue
        queue.submit(entry)
        try:
            while queue.advance() and not entry.over:  # noqa: ASYNC110 - others' turn
                await asyncio.sleep(0)
            if entry.full is not None:
                dispatch = self._components.dispatch
                dispatch.announce_full(handles[entry.count], verb, entry.full)
            if not entry.over:
                await self._wait_over(entry, waiter)
        finally:
            if not (entry.over or entry.left_alone):
                queue.withdraw(entry)
            elif not queue.idle:
                queue.advance(go_on=True)
        if entry.error is not None:
            try:
                raise entry.error
            finally:
                del entry  # the traceback has this frame: a cycle

    async def _wait_over(self, entry: Queued, waiter: Waiter) -> None:
        """Wait until `entry` is handed over; raise if it finds no room in time."""
        queue, dispatch = self.queue, self._components.dispatch
        deadline = inf if entry.deadline is None else entry.deadline
        while not entry.over:
            now = clock.system_now()
            room_until = entry.since + dispatch.room_wait
            error: ProduceError | None = None
            if queue.full is not None and now >= min(room_until, deadline):
                error = dispatch.full_error(entry.handles[entry.count], queue.full)
                if queue.withdraw(entry):
                    raise error
            elif now >= deadline:
                self._leave_alone(entry)
            until = now + (TICK if error is None else SOON)
            for limit in (room_until, deadline):
                if now < limit < until:
                    until = limit
            if not await waiter.wait(until):
                entry.on_over = waiter = Waiter()
                queue.advance(go_on=True)

    def _leave_alone(self, entry: Queued) -> NoReturn:
        """Raise, because the time of `entry` is over; it is handed over all the same.

        Its caller hears no more of it, so an error becomes an event.
        """
        workers = self._components.connection.runtime.workers

        def tell() -> None:
            error = entry.error
            if error is not None:
                message = entry.handles[entry.count].message
                self._components.emitter.error(entry.verb, error, message=message)

        entry.leave_alone(lambda: workers.submit(tell))
        raise DeliveryTimeoutError(
            f"no delivery report for {subject_of(entry.handles[0])} in time: the "
            "client is still being opened; delivery goes on",
            checklist=self._components.connection.reports.checklist(),
        )


async def _filled(filling: Filling) -> list[DeliveryHandle]:
    """The handles of a batch; the loop runs between its steps."""
    while True:
        try:
            next(filling)
        except StopIteration as end:
            handles: list[DeliveryHandle] = end.value
            return handles
        try:
            await asyncio.sleep(0)
        except BaseException as error:
            filling.throw(error)  # which raises it: nothing will be sent
            raise
