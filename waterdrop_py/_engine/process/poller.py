"""The poller thread: serves the reports of every client that no caller serves."""

from __future__ import annotations

import heapq
from contextlib import suppress
from math import inf
from queue import Empty
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.concurrency.threads import OnDemandThread
from waterdrop_py._engine.concurrency.wakeup import Inbox
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable


SHORTEST: Final = 0.000_1
LONGEST: Final = 0.1
"""Seconds between two polls of a client that has something un-acknowledged."""
SHARE: Final = 0.06
"""A client is polled again after this share of the time since its last report.

With 100 clients and a done callback each, which a worker runs: p50 0.50 ms, p99 1.1 ms,
where a thread per client has 0.31 and 0.65."""
QUIET_PERIOD: Final = 1.0
"""Seconds between two checks of a client that has nothing un-acknowledged."""
SLOW: Final = 0.1
"""Seconds of user code after which `poller.slow` is told."""
LINGER: Final = 3.0
"""Seconds that a thread stays when nothing needs it."""


class SlowCallbackError(WaterdropError):
    """User code held up the reports of its own producer."""


class Poller:
    """One thread polls for all. No lock, and no code of the user's.

    `armed` is an inbox. The heap and the set of clients belong to the thread, which
    holds `_running`.
    """

    def __init__(
        self,
        submit: Callable[[Callable[[], None]], None],
        every_second: Callable[[set[Client]], None] | None = None,
        wanted: Callable[[], bool] | None = None,
    ) -> None:
        """`submit` has a worker poll what may call the user's token provider.
        `every_second` is called once a second with the clients; also without any, as
        long as `wanted()`."""
        self._submit = submit
        self._every_second = every_second
        self._wanted = wanted
        self.armed: Inbox[Client | Callable[[], None]] = Inbox()
        self._running = OwnedLock()
        self._post = OnDemandThread("poller", self._run)
        self._heap: list[tuple[float, int, Client]] = []
        self._clients: set[Client] = set()
        self._sequence = 0
        self._next_sweep = 0.0
        self._asked_for = inf  # when there is to be a sweep in addition

    def poll_soon(self, client: Client) -> None:
        """Poll `client` soon, and until it has nothing un-acknowledged."""
        self.armed.put(client)
        if not self._running.locked:
            self._post.ensure_started()

    def do(self, job: Callable[[], None]) -> None:
        """Run `job` on the polling thread. It must not raise.

        Run here and now where no thread can start, as at interpreter exit from Python
        3.12 on (test_without_any_thread_jobs_run_here).
        """
        self.armed.put(job)
        if not self._running.locked and not self._post.ensure_started():
            self._run_jobs()

    def do_next(self, job: Callable[[], None]) -> None:
        """Leave `job` to the next call of `do`, on this thread or another."""
        self.armed.put(job)

    @property
    def polls_here(self) -> bool:
        """Whether the calling thread is the one that polls for all."""
        return self._running.held_here

    def end_if_idle(self) -> None:
        """End the thread now instead of after LINGER, unless a client is open.

        The thread may be starting, so it is told whether or not it runs.
        """
        self.armed.put(self._forget_closed)

    def _forget_closed(self) -> None:
        self._clients = {client for client in self._clients if _needs_polls(client)}

    def _run_jobs(self) -> None:
        with suppress(Empty):
            for _ in range(len(self.armed)):  # not what is put back
                item = self.armed.get(0)
                if isinstance(item, Client):
                    self.armed.put(item)
                else:
                    item()

    def _run(self) -> None:
        # This releases the lock and then reads the inbox; `poll_soon` fills the inbox
        # and then reads the lock. One of the two sees the other.
        while self._running.take(hold := Hold()):
            try:
                while self._step():
                    pass
            finally:
                self._running.release(hold)
            if not self.armed:
                return

    def _step(self) -> bool:
        """Wait until a client is due, and poll those that are; False to end."""
        wait = LINGER
        if self._clients or self._is_wanted():
            due = self._heap[0][0] if self._heap else self._next_sweep
            wait = min(due, self._next_sweep) - clock.system_now()
        try:
            item = self.armed.get(wait)
            while True:
                self._take_in(item)
                item = self.armed.get(0)
        except Empty:
            if not self._clients and not self._is_wanted():
                return False
        self._serve_due()
        return True

    def _is_wanted(self) -> bool:
        return self._wanted is not None and self._wanted()

    def sweep_by(self, when: float) -> None:
        """Sweep at `when` too, in seconds on the real clock. The last call counts.

        A regular sweep shortly before does not replace it
        (test_a_sweep_that_is_asked_for).
        """

        def bring_forward() -> None:
            self._asked_for = when
            self._next_sweep = min(self._next_sweep, when)

        self.do(bring_forward)

    def _take_in(self, item: Client | Callable[[], None]) -> None:
        if not isinstance(item, Client):
            item()
        elif _needs_polls(item):
            self._add(item)

    def _add(self, client: Client) -> None:
        now = clock.system_now()
        if not self._clients:
            self._next_sweep = min(now + QUIET_PERIOD, self._asked_for)
        self._clients.add(client)
        client.progress_at = now
        self._schedule(client)

    def _schedule(self, client: Client) -> None:
        now = clock.system_now()
        wait = min(LONGEST, max(SHORTEST, SHARE * (now - client.progress_at)))
        client.poll_at = now + wait
        self._sequence += 1
        heapq.heappush(self._heap, (client.poll_at, self._sequence, client))

    def _serve_due(self) -> None:
        now = clock.system_now()
        while self._heap and self._heap[0][0] <= now:
            due, _, client = heapq.heappop(self._heap)
            # A client that was scheduled again leaves an older entry behind.
            if due == client.poll_at:
                self._serve(client)
        if now >= self._next_sweep:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Check every client."""
        if now >= self._asked_for:
            self._asked_for = inf
        self._next_sweep = min(now + QUIET_PERIOD, self._asked_for)
        for client in list(self._clients):
            if not _needs_polls(client):
                self._clients.discard(client)
            elif client.poll_at < now:
                self._serve_if_waiting(client)
        if self._every_second is not None:
            self._every_second(self._clients)

    def _serve_if_waiting(self, client: Client) -> None:
        """Poll a quiet client if anything waits in it: its `len` counts events too.

        Polling it in any case would cost half as much again: 100 idle clients take
        0.107 % of a core instead of 0.075 %.
        """
        hold = Hold()
        nothing = False
        try:
            # Uncertain counters and a refused close are settled by a poll.
            if (
                client.poll_lock.take(hold)
                and client.quiet
                and not client.counters_uncertain
                and not client.refusals
            ):
                nothing = not client.busy()
        finally:
            client.stop_polling(hold, settled=nothing)
        if not nothing:
            self._serve(client)

    def _serve(self, client: Client) -> None:
        """Poll once; on a worker if that may call the user's code."""
        if client.unsettled and client.is_held_up(clock.system_now(), SLOW):
            self._report_slow(client)
        if client.poll_calls_users_code:
            self._submit(lambda: self._poll(client, self._schedule_again))
        else:
            self._poll(client, self._schedule)

    def _poll(self, client: Client, again: Callable[[Client], None]) -> None:
        hold = Hold()
        try:
            if client.poll_lock.take(hold):
                client.serve(0.0)
        except BaseException as raised:  # noqa: BLE001 - contained, and told of
            error = raised
            client.run_users_code(lambda: client.reports.thread_raised(error))
        finally:
            client.stop_polling(hold, again=again)

    def _schedule_again(self, client: Client) -> None:
        self.do(lambda: self._schedule(client))

    def _report_slow(self, client: Client) -> None:
        error = SlowCallbackError(
            "a callback or subscriber held up the delivery reports of its producer"
        )
        client.run_users_code(lambda: client.reports.poller_slow(error))


def _needs_polls(client: Client) -> bool:
    return client.native is not None or client.unsettled
