"""Threads that poll, blocking, a client whose report a task of asyncio awaits."""

from __future__ import annotations

from queue import Empty
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client.awaiting import serve_awaited, wait_to_serve
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.concurrency.threads import OnDemandThread
from waterdrop_py._engine.concurrency.wakeup import Inbox

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client

THREADS: Final = 2
"""Clients that are polled so at a time. The poller serves all others in its rounds."""
LINGER: Final = 3.0
"""Seconds that a thread stays when no client needs it."""
_ONLY: Final = 0


class BlockingPollers:
    """A few threads, each of which polls one client at a time. No lock."""

    def __init__(self) -> None:
        self._threads = [_BlockingPoller() for _ in range(THREADS)]

    def attend(self, client: Client) -> None:
        """Poll `client` while tasks await its reports, if a thread is free for it."""
        for thread in self._threads:
            if thread.take(client):
                return

    def end_if_idle(self) -> None:
        """End the threads now instead of after LINGER."""
        for thread in self._threads:
            thread.end_if_idle()


class _BlockingPoller:
    """One thread. `_client` has the one that it polls, taken by `dict.setdefault`.

    1. A task is added to `client.awaits`, and finds the client attended.
    2. The thread that stops clears `attended`, and then looks at `awaits` once more.
    One of the two sees the other (test_a_task_that_awaits_as_the_thread_stops).
    """

    def __init__(self) -> None:
        self._client: dict[int, Client] = {}
        self._inbox: Inbox[Client | None] = Inbox()
        self._running = OwnedLock()
        self._post = OnDemandThread("waiter", self._run)

    def take(self, client: Client) -> bool:
        """Poll `client`; False while the thread polls another one."""
        if self._client:
            return self._client.get(_ONLY) is client
        taken = self._client.setdefault(_ONLY, client)
        if taken is not client:
            return False
        self._inbox.put(client)
        if not self._running.locked and not self._post.ensure_started():
            self._client.clear()  # no thread can start
        return True

    def end_if_idle(self) -> None:
        """End the thread now, unless it has a client."""
        self._inbox.put(None)

    def _run(self) -> None:
        while self._running.take(hold := Hold()):
            try:
                while self._step():
                    pass
            finally:
                self._running.release(hold)
            if not self._inbox:
                return

    def _step(self) -> bool:
        try:
            client = self._inbox.get(LINGER)
        except Empty:
            return False
        if client is None:
            return bool(self._inbox)
        try:
            client.attended = True
            self._serve(client)
        finally:
            self._client.pop(_ONLY, None)
            client.attended = False
        if client.native is not None and client.awaits:
            self.take(client)
        elif client.native is not None and not client.quiet:
            client.poll_soon(client)
        return True

    def _serve(self, client: Client) -> None:
        try:
            serve_awaited(client)
            while client.awaits and client.native is not None:
                wait_to_serve(client)
                serve_awaited(client)
        except BaseException as raised:  # noqa: BLE001 - contained, and told of
            error = raised
            client.run_users_code(lambda: client.reports.thread_raised(error))
