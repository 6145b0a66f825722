"""How a task of asyncio waits for a report, and which clients are polled for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.poll_lock import SLICE
from waterdrop_py._engine.client.waiting import BRIEF, left_to_a_worker
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.concurrency.loops import Waiter
from waterdrop_py._engine.concurrency.wakeup import Wakeup

if TYPE_CHECKING:
    from waterdrop_py._engine.client.watchers import Pending

STAY: Final = 0.02
"""Seconds that a thread polls on after the last awaited report. A task that sends one
message after the other sends the next one within that."""


class _ReportWaiter(Waiter):
    """A task that waits for a report of `client`. Waking it ends its claim to polls."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        client.awaits[self] = self.future

    def __call__(self, _: object = None) -> None:
        """Wake the task. On the thread that polls, which looks at `awaits` next."""
        self._client.awaits.pop(self, None)
        super().__call__()


async def wait_in_task(client: Any, handle: Pending, deadline: float | None) -> bool:
    """Wait until `handle` has its outcome; False once `deadline` is over.

    A thread polls the client meanwhile, blocking in the native poll: with the poller's
    rounds p50 of a round trip is 1.8 times as long. `client`: what the handle holds, a
    client or what its message waits in. `deadline`: seconds on the system's clock.
    """
    own = isinstance(client, Client)
    waiter = _ReportWaiter(client) if own else Waiter()
    try:
        watchers.add_wakeup(client, handle, waiter)
        if own and not client.attended:
            client.attend(client)
        return await waiter.wait(deadline)
    finally:
        watchers.remove_wakeup(handle, waiter)
        if own:
            client.awaits.pop(waiter, None)


def serve_awaited(client: Client) -> None:
    """Poll `client`, blocking, while a task awaits one of its reports, and STAY longer.

    Returns where another thread has to go on: for the user's code, or for a job that
    needs a client that no thread polls.
    """
    hold = Hold()
    try:
        if client.unsettled:
            client.settle_here()
        if left_to_a_worker(client) or not client.poll_lock.take(hold):
            return
        until = clock.system_now() + STAY
        while client.native is not None and not client.poll_lock.has_jobs:
            if client.poll_calls_users_code:
                return
            before = client.acknowledged + client.failed
            awaited = bool(client.awaits)
            left = until - clock.system_now()
            if not awaited and left <= 0:
                return
            if not _serve_once(client, SLICE if awaited else left):
                return
            if awaited or client.acknowledged + client.failed != before:
                until = clock.system_now() + STAY
    finally:
        client.stop_polling(hold)


def _serve_once(client: Client, timeout: float) -> bool:
    """Poll once; whether everything is settled."""
    client.serve(timeout)
    if client.unsettled and not client.wait_settled(BRIEF):
        return False
    if client.reports.foreign or not client.awaits:
        # The report of a foreign client may never come. Any other client is quiet from
        # here on, although it is polled: the process may be suspended now.
        client.check_quiet()
    return True


def wait_to_serve(client: Client) -> None:
    """Wait until `client` may be polled, at most SLICE: another thread is at it."""
    wakeup = Wakeup()
    client.poll_lock.waiters.append(wakeup)
    try:
        if client.poll_lock.locked or left_to_a_worker(client):
            wakeup.wait(SLICE)
    finally:
        try:
            client.poll_lock.waiters.remove(wakeup)
        except ValueError:
            if not client.awaits:
                client.pass_on_polling()
