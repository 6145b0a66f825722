"""Serves the reports and callbacks of every client that nobody waits on."""

from __future__ import annotations

import heapq
from contextlib import suppress
from math import inf
from queue import Empty
from typing import TYPE_CHECKING, Final, NamedTuple

from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Claim, Ticket
from waterdrop_py._engine.concurrency.threads import OnDemandThread
from waterdrop_py._engine.concurrency.wakeup import Inbox, Wakeup
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable


SHORTEST: Final = 0.000_1
LONGEST: Final = 0.1
SHARE: Final = 0.06
"""A client is looked at again after this share of the time since its last report.

With 100 clients: p50 0.40 ms, p99 0.6 ms, where a thread per client has 0.32 and
0.6."""
QUIET_PERIOD: Final = 1.0
"""Seconds between two looks at a client with nothing un-acknowledged."""
SLOW: Final = 0.1
"""Seconds of user code in one poll after which the other clients get a new poller."""
LINGER: Final = 3.0
"""Seconds that a thread stays when nothing needs it."""


class SlowCallbackError(WaterdropError):
    """User code held the thread that polls for every producer."""


class Poller:
    """One thread polls for all; a deputy takes over while user code holds it.

    No lock. `armed` is an inbox; the heap and the set of clients belong to the
    thread that holds `_lead`. While it polls, its entry in `_serving` says since
    when. The deputy that finds the entry too old takes it away: the atomic
    `remove` decides whether the leader came back first, so exactly one of the
    two goes on as the leader (test_second_poller_takes_over).
    """

    def __init__(
        self,
        report_slow: Callable[[Client], None],
        every_second: Callable[[set[Client]], None] | None = None,
        wanted: Callable[[], bool] | None = None,
    ) -> None:
        # Called at each sweep; and whether that is wanted while there are no clients.
        self._every_second = every_second
        self._wanted = wanted
        self.armed: Inbox[Client | Callable[[], None]] = Inbox()
        self._report_slow = report_slow
        self._lead = Claim()
        self._watching = Claim()
        self._post = OnDemandThread("poller", self._run)
        self._deputys_post = OnDemandThread("poller-deputy", self._watch)
        self._heap: list[tuple[float, int, Client]] = []
        self._clients: set[Client] = set()
        self._sequence = 0
        self._next_sweep = 0.0
        self._asked_for = inf  # a sweep beside the usual ones
        self._serving: list[_Serving] = []
        self._dozing = False
        self._alarm = Wakeup()
        self._over = Wakeup()

    def poll_soon(self, client: Client) -> None:
        """Serve `client` soon, and until nothing of it is un-acknowledged."""
        self.armed.put(client)
        if not self._lead.taken:
            self._post.fill()

    def do(self, job: Callable[[], None]) -> None:
        """Run `job` on the polling thread, for lack of another. It must not raise.

        Here and now when there is none either, as at the exit of an interpreter from
        3.12 on that began to send only then (test_without_any_thread_jobs_run_here).
        """
        self.armed.put(job)
        if not self._lead.taken and not self._post.fill():
            self._run_jobs()

    def do_next(self, job: Callable[[], None]) -> None:
        """Leave `job` to the next call of `do`, on this thread or another."""
        self.armed.put(job)

    @property
    def polls_here(self) -> bool:
        """Whether the calling thread is the one that polls for all."""
        return self._lead.mine

    def rest(self) -> None:
        """End now, and not after the linger, unless a client is open.

        Said in any case: the thread may be on its way.
        """
        self.armed.put(self._forget_closed)

    def _forget_closed(self) -> None:
        self._clients = {
            client
            for client in self._clients
            if client.native is not None or client.arrived
        }

    def _run_jobs(self) -> None:
        with suppress(Empty):
            for _ in range(len(self.armed)):  # not what is put back
                item = self.armed.get(0)
                if isinstance(item, Client):
                    self.armed.put(item)
                else:
                    item()

    def _run(self) -> None:
        # Released first, looked at the inbox second; `poll_soon` puts first and looks
        # at the claim second: one of the two sees the other.
        while self._lead.take(ticket := Ticket()):
            try:
                while self._lead.held_by(ticket) and self._step(ticket):
                    pass
            finally:
                self._lead.release(ticket)
                self._alarm()
                self._over()
            if not self.armed:
                return

    def _step(self, lead: Ticket) -> bool:
        """Wait for the next client that is due, and serve what is; False to end."""
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
        if self._clients and not self._watching.taken:
            self._deputys_post.fill()
        return self._serve_due(lead)

    def _is_wanted(self) -> bool:
        return self._wanted is not None and self._wanted()

    def sweep_by(self, when: float) -> None:
        """Sweep at `when` too, in seconds on the real clock. One wish at a time.

        A usual sweep shortly before does not take its place
        (test_a_sweep_that_is_asked_for).
        """

        def bring_forward() -> None:
            self._asked_for = when
            self._next_sweep = min(self._next_sweep, when)

        self.do(bring_forward)

    def _take_in(self, item: Client | Callable[[], None]) -> None:
        if not isinstance(item, Client):
            item()
        elif item.native is not None or item.arrived:
            self._enlist(item)

    def _enlist(self, client: Client) -> None:
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

    def _serve_due(self, lead: Ticket) -> bool:
        now = clock.system_now()
        while self._heap and self._heap[0][0] <= now:
            due, _, client = heapq.heappop(self._heap)
            # An older entry of a client that was scheduled again is void.
            if due == client.poll_at and not self._serve(client, lead):
                return False
        return now < self._next_sweep or self._sweep(now, lead)

    def _sweep(self, now: float, lead: Ticket) -> bool:
        """Look at every client; False when the deputy took the lead meanwhile."""
        if now >= self._asked_for:
            self._asked_for = inf
        self._next_sweep = min(now + QUIET_PERIOD, self._asked_for)
        for client in list(self._clients):
            if client.native is None and not client.arrived:
                self._clients.discard(client)
            elif client.poll_at < now and not self._look(client, lead):
                return False
        if self._every_second is not None:
            self._every_second(self._clients)
        return True

    def _look(self, client: Client, lead: Ticket) -> bool:
        """Serve a quiet client if anything waits: its `len` counts events too.

        An empty poll, and all around it, would cost half as much again: 100 idle
        clients take 0.075 % of a core, and took 0.107 %.
        """
        ticket = Ticket()
        nothing = False
        try:
            if not client.poll_lock.take(ticket):
                client.poll_lock.heal()
            # What an exception tore, and who was refused a close, needs a settling.
            elif client.quiet and not client.counters_uncertain and not client.refusals:
                nothing = not client.busy()
        finally:
            client.leave(ticket, settled=nothing)
        return nothing or self._serve(client, lead)

    def _serve(self, client: Client, lead: Ticket) -> bool:
        """Poll once; False when the deputy took the lead meanwhile."""
        ticket = Ticket()
        serving = _Serving(client, clock.system_now(), lead)
        leading = True
        try:
            if client.poll_lock.take(ticket):
                self._serving.append(serving)
                if self._dozing:
                    self._alarm()
                client.serve(0.0)
        except BaseException as error:  # noqa: BLE001 - contained, and told of
            client.reports.thread_raised(error)
        finally:
            if client.poll_lock.held_by(ticket):
                leading = _take_out(self._serving, serving)
            client.leave(ticket, again=self._schedule if leading else self.poll_soon)
        return leading

    # -- the deputy --------------------------------------------------------

    def _watch(self) -> None:
        """Look after the leader; take its place when user code holds it up."""
        watching = Ticket()
        lead = Ticket()
        try:
            if not self._watching.take(watching):
                return
            while self._lead.taken and not self._take_over(lead):
                self._doze()
        finally:
            self._watching.release(watching)
        if self._lead.held_by(lead):
            self._lead.release(lead)
            self._run()

    def _doze(self) -> None:
        """Sleep while nobody is served, and then for as long as is not slow yet.

        It says that it dozes and then looks who is served; the leader notes whom it
        serves and then looks who dozes: one of the two sees the other
        (test_the_deputy_wakes_for_a_slow_callback).
        """
        self._dozing = True
        if not self._serving and self._lead.taken:
            self._alarm.wait(LINGER)
        self._dozing = False
        self._over.wait(SLOW)

    def _take_over(self, lead: Ticket) -> bool:
        for serving in tuple(self._serving):
            held = clock.system_now() - serving.since
            if held > SLOW and _take_out(self._serving, serving):
                self._lead.release(serving.lead)
                self._report_slow(serving.client)
                return self._lead.take(lead)
        return False


class _Serving(NamedTuple):
    client: Client
    since: float
    lead: Ticket


def _take_out(servings: list[_Serving], serving: _Serving) -> bool:
    try:
        servings.remove(serving)
    except ValueError:
        return False
    return True
