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
from waterdrop_py.aio._steps import STEP, filled, reports_of
from waterdrop_py.aio._transaction import TaskBlock
from waterdrop_py.errors import DeliveryTimeoutError, ProduceError
from waterdrop_py.message import untraced

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waterdrop_py._engine.assembly import Components
    from waterdrop_py.delivery import DeliveryHandle, DeliveryReport
    from waterdrop_py.message import Message, MessageInput

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
        late: DeliveryTimeoutError | None = None
        try:
            async with self.block(deadline):
                late = await self._hand_over([handle], PRODUCE_SYNC, deadline)
                report = await self._report(handle, started, timeout, late)
        except BaseException as error:
            if late is None:
                self._verbs.refused(handle, PRODUCE_SYNC, error, message)
            else:
                emitter.error(PRODUCE_SYNC, late, message=untraced(message))
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
        self,
        handle: DeliveryHandle,
        started: float,
        timeout: float | None,
        late: DeliveryTimeoutError | None,
    ) -> DeliveryReport:
        if late is not None:
            raise late
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
        late: DeliveryTimeoutError | None = None
        try:
            async with self.block():
                late = await self._send_and_wait(handles)
                if late is not None:
                    self._raise(late, handles, PRODUCE_MANY_SYNC)
        except BaseException as error:
            if late is None:
                refuse(handles, error)
            raise
        outcomes.tell_all_delivered(self._components.emitter, handles, started)
        return await reports_of(handles)

    async def _all_filled(
        self, messages: Iterable[MessageInput], *, null: bool
    ) -> list[DeliveryHandle]:
        return await filled(self._verbs.filling(listed(messages), null=null, step=STEP))

    async def _send_and_wait(
        self, handles: list[DeliveryHandle]
    ) -> DeliveryTimeoutError | None:
        deadline = clock.system_now() + self._max_wait
        late = await self._hand_all_over(handles, PRODUCE_MANY_SYNC, deadline)
        if late is None:
            failure = await self._first_failure(handles, deadline)
            if failure is not None:
                self._raise(failure, handles, PRODUCE_MANY_SYNC)
        return late

    def _raise(
        self, failure: ProduceError, handles: list[DeliveryHandle], verb: str
    ) -> NoReturn:
        emitter = self._components.emitter
        outcomes.raise_undelivered(emitter, failure, handles, verb)

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

    async def flush_buffer(self) -> list[DeliveryReport]:
        """Send the buffer, and wait for all reports."""
        return await reports_of(
            await self._flush("buffer.flushed_sync", PRODUCE_MANY_SYNC, None)
        )

    async def flush_before(self, deadline: float | None) -> None:
        """Send the buffer until `deadline`; what waits for a client then goes on."""
        await self._flush("buffer.flushed_async", PRODUCE_MANY_ASYNC, deadline)

    async def _flush(
        self, name: str, verb: str, deadline: float | None
    ) -> list[DeliveryHandle]:
        flusher, started = self._components.flusher, clock.system_now()
        flush, late = flusher.begin(), None
        try:
            handles = await filled(flush.filling(STEP))
            if handles:
                async with self.block(inf if deadline is None else deadline):
                    if verb == PRODUCE_MANY_ASYNC:
                        late = await self._hand_all_over(handles, verb, deadline)
                    elif late := await self._send_and_wait(handles):
                        self._raise(late, handles, verb)
        except BaseException as error:
            if late is None:
                flush.put_back(error)
            raise
        flusher.tell_flushed(name, handles, started)
        return handles

    # -- handing over ------------------------------------------------------

    async def _hand_all_over(
        self, handles: list[DeliveryHandle], verb: str, deadline: float | None
    ) -> DeliveryTimeoutError | None:
        """`_hand_over` a batch; its error says how much of it was handed over."""
        if not handles:
            return None
        try:
            return await self._hand_over(handles, verb, deadline)
        except ProduceError as failure:
            count = sum(client_of(handle) is not None for handle in handles)
            if verb == PRODUCE_MANY_SYNC and deadline is not None:
                await self._first_failure(handles[:count], deadline)
            emitter = self._components.emitter
            outcomes.raise_refused(emitter, failure, handles, count, verb)

    async def _hand_over(
        self, handles: list[DeliveryHandle], verb: str, deadline: float | None
    ) -> DeliveryTimeoutError | None:
        """Have the client queue all of them, in their turn.

        Withdraws what is left of them where it is cancelled. Where its time is over
        while the client is opened, they are sent all the same, as by a thread that
        opens it: this returns the error to raise, and they are not its caller's any
        more. Not so in a transaction, which would not wait for them.
        """
        if len(handles) == 1 and self.queue.send_at_once(handles[0]):
            return None
        transactions = self._components.transactions
        wanted = None if transactions is None else transactions.running_is_open()
        waiter = Waiter()
        entry = Queued(handles, verb, deadline, waiter, wanted)
        queue, late = self.queue, None
        queue.submit(entry)
        try:
            while queue.advance() and not entry.over:  # noqa: ASYNC110 - others' turn
                await asyncio.sleep(0)
            if entry.full is not None:
                dispatch = self._components.dispatch
                dispatch.announce_full(handles[entry.count], verb, entry.full)
            if not entry.over:
                late = await self._wait_over(entry, waiter)
        finally:
            if not (entry.over or entry.left_alone):
                queue.withdraw(entry)
            elif not queue.idle:
                queue.advance(go_on=True)
        if late is None and entry.error is not None:
            try:
                raise entry.error
            finally:
                del entry  # the traceback has this frame: a cycle
        return late

    async def _wait_over(
        self, entry: Queued, waiter: Waiter
    ) -> DeliveryTimeoutError | None:
        """Wait until `entry` is handed over; raise if it finds no room in time."""
        queue = self.queue
        deadline = inf if entry.deadline is None else entry.deadline
        while not entry.over:
            now = clock.system_now()
            room_until = entry.since + self._components.dispatch.room_wait
            error = self._overdue(entry, now, room_until, deadline)
            if error is not None and queue.withdraw(entry):
                raise error
            if error is None and now >= deadline:
                return self._leave_alone(entry)
            until = now + (TICK if error is None else SOON)
            for limit in (room_until, deadline):
                if now < limit < until:
                    until = limit
            if not await waiter.wait(until):
                entry.on_over = waiter = Waiter()
                queue.advance(go_on=True)
        return None

    def _overdue(
        self, entry: Queued, now: float, room_until: float, deadline: float
    ) -> ProduceError | None:
        """Why `entry` is taken back now; None if it is not."""
        full = self.queue.full
        if full is not None and now >= min(room_until, deadline):
            return self._components.dispatch.full_error(
                entry.handles[entry.count], full
            )
        if entry.wanted is not None and now >= deadline:
            return self._late(entry, "nothing was sent")
        return None

    def _leave_alone(self, entry: Queued) -> DeliveryTimeoutError:
        """What to raise, because the time of `entry` is over; it is handed over all the
        same. Its caller hears no more of it, so an error becomes an event."""
        workers = self._components.connection.runtime.workers

        def tell() -> None:
            error = entry.error
            if error is not None:
                refuse(entry.handles, error)
                message = entry.handles[entry.count].message
                self._components.emitter.error(entry.verb, error, message=message)

        entry.leave_alone(lambda: workers.submit(tell))
        return self._late(entry, "delivery goes on")

    def _late(self, entry: Queued, outcome: str) -> DeliveryTimeoutError:
        return DeliveryTimeoutError(
            f"no delivery report for {subject_of(entry.handles[0])} in time: the "
            f"client is still being opened; {outcome}",
            checklist=self._components.connection.reports.checklist(),
        )
