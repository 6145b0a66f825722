"""What the process has one of: the registry, the poller, the reaper, the closers."""

from __future__ import annotations

import weakref
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from waterdrop_py._engine.client.reachability import REACH
from waterdrop_py._engine.concurrency import background, clock, threads
from waterdrop_py._engine.concurrency.contained import from_signal_handler
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._engine.connection.teardown import TeardownBatch
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.process.fork_guard import ForkGuard
from waterdrop_py._engine.process.leak_check import SECONDARY, LeakCheck
from waterdrop_py._engine.process.poller import Poller, SlowCallbackError
from waterdrop_py._engine.process.reaper import RELIEF, Reaper
from waterdrop_py._engine.process.workers import Workers
from waterdrop_py._engine.shutdown.exit_report import EXIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.client.factory import Factory
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.connection.teardown import Teardown
    from waterdrop_py._engine.process.reaper import Reapable
    from waterdrop_py._engine.reports.handler import ReportHandler

LATE: Final = 0.1
"""Seconds after which a batch is told of without its stragglers."""
MEASURED: Final = 50
"""Live clients up to which the process is counted before and after a batch. One count
takes about 0.1 ms for each, and the closes wait for it: with 100 due together the
last was closed 8 to 102 ms after the deadline without it, 75 to 349 ms with it."""
END: Final = 0.5
"""Seconds that the exit waits for the library's threads, which end within milliseconds
unless user code or a close that hangs holds one up."""
REST: Final = 0.1
"""Seconds that the last `close()` waits for them."""
HELD_UP: Final = 0.02
"""Seconds of one job after which it does not wait for its thread."""


class _ConnectionReference(weakref.ref["Connection"]):
    """A weak reference to a slot, and the key that the registry has it by."""

    __slots__ = ("key",)
    key: int


class Runtime:
    """The parts that all producers of a process share. Thread-safe, no lock.

    The registry keeps `id -> weakref`: a WeakSet that a fork caught in the middle
    of an iteration would never purge again.
    """

    def __init__(self) -> None:
        self.reset()
        background.run_by(self._submit)
        LOG.wake_by(self._wake_poller)
        clock.on_jump(self._wake_reaper)

    def reset(self) -> None:
        """Start afresh, with nothing running: at import, and in a forked child."""
        LOG.reset()
        REACH.reset()
        EXIT.reset()
        self._connections: dict[int, _ConnectionReference] = {}
        self._gone = self._forget_connection  # one for all: a closure each takes 0.2 KB
        self._traffic = count()
        # A dict for its O(1) removal: a thousand closes may be in progress at once.
        self.teardowns: dict[Teardown, None] = {}
        self._batches: list[tuple[TeardownBatch, float]] = []
        self._next_look = 0.0
        # The exit handler has run: finalizers have nothing left to do.
        self.ended = False
        self.fork_guard = ForkGuard()
        self.leak_check = LeakCheck(self)
        self.workers = Workers(self._run_on_poller)
        self.poller = Poller(self._report_slow, self._every_second, LOG.wanted)
        self.reaper = Reaper(self._reap, self._tend)

    def _submit(self, job: Callable[[], None]) -> None:
        self.workers.submit(job)

    def _wake_poller(self) -> None:
        self.poller.do(_nothing)

    def end(self) -> None:
        """Every producer is closed, and the process ends: so do the threads."""
        self.ended = True
        self.leak_check.end()
        self._rest()
        threads.end(END)

    @property
    def without_threads(self) -> bool:
        """Whether what is sent is delivered then and there, for lack of a thread."""
        return threads.forbidden()

    def rest(self) -> None:
        """A producer was closed: with the last one the threads end, at once.

        A sub-interpreter can only be ended without them: there it blocks for at most
        END, and what the log holds back is said now. Else it blocks for at most REST,
        and not for what holds a thread up, nor for one that stays for the log.
        """
        if self.ended or any(
            connection.status is not Status.CLOSED for connection in self.connections()
        ):
            return
        if SECONDARY:
            LOG.flush()
        self._rest()
        if SECONDARY:
            threads.wait(END, lambda: False)
        else:
            threads.wait(REST, lambda: LOG.wanted() or self.workers.held_up(HELD_UP))

    def _rest(self) -> None:
        for part in (self.reaper, self.poller, self.workers):
            part.rest()

    def _wake_reaper(self) -> None:
        self.reaper.wake()  # the present one: a forked child has another

    # -- the registry ------------------------------------------------------

    def register(self, connection: Connection) -> None:
        """Know a slot from its first open on."""
        key, connections = id(connection), self._connections
        if key not in connections:
            reference = _ConnectionReference(connection, self._gone)
            reference.key = key
            connections[key] = reference

    def _forget_connection(self, reference: _ConnectionReference) -> None:
        self._connections.pop(reference.key, None)

    def connections(self) -> list[Connection]:
        """Every slot alive that has ever opened a client."""
        alive = [reference() for reference in list(self._connections.values())]
        return [connection for connection in alive if connection is not None]

    def refresh(self) -> None:
        """Somebody subscribed to the shared monitor, or left it."""
        for connection in self.connections():
            connection.refresh()

    def holds_clients(self) -> bool:
        """Whether any producer of the library has a client that is not destroyed, or
        is just getting one."""
        return self.fork_guard.opening or any(
            connection.clients() for connection in self.connections()
        )

    # -- closes ------------------------------------------------------------

    def note_traffic(self) -> None:
        """A client is opened or closed: a measurement in progress is void."""
        next(self._traffic)

    def traffic(self) -> int:
        """How often that was so far."""
        return peek(self._traffic)

    def batch(
        self, connections: list[Connection], *, silent: bool = False
    ) -> TeardownBatch:
        """Clients that are about to be closed together."""
        heard = any(
            connection.emitter.listens("producer.disconnected")
            for connection in connections
        )
        few = len(self._connections) <= MEASURED
        return TeardownBatch(
            self, len(connections), measure=heard and few, silent=silent
        )

    def open(self, factory: Factory, client: Client, reports: ReportHandler) -> None:
        """Construct a client, at no moment at which another thread forks."""
        self.fork_guard.enter()
        try:
            factory.open(client, reports)
        finally:
            self.fork_guard.leave(client)

    def _run_on_poller(self, job: Callable[[], None]) -> None:
        self.poller.do(job)

    def forget(self, teardown: Teardown) -> None:
        """A close has ended."""
        self.teardowns.pop(teardown, None)

    def _every_second(self, clients: set[Client]) -> None:
        """Say what is to be said of clients and of held lines. On the poller."""
        now = clock.system_now()
        for job in (*REACH.look(clients, now), *EXIT.look(now)):
            self.workers.submit(job)
        LOG.speak()

    def _reap(self, due: list[Reapable]) -> None:
        connections = cast(
            "list[Connection]", due
        )  # the reaper knows what it was given
        batch = self.batch(connections)
        self._batches.append((batch, clock.system_now()))
        for connection in connections:
            self.workers.submit(_Reap(connection, batch))

    def _tend(self) -> bool:
        """Look after closes in progress; whether there are any. On the reaper."""
        self.workers.relieve()
        now = clock.system_now()
        # The reaper wakes for each client that closes. Looking at all that close every
        # time, it took 0.18 to 0.28 s for a thousand; now 0.07 to 0.1 s
        # (test_closes_in_progress_are_looked_at_now_and_then).
        if now >= self._next_look:
            self._next_look = now + RELIEF
            self._look_after_closes(now)
        return bool(self._batches or self.teardowns) or self.workers.waiting()

    def _look_after_closes(self, now: float) -> None:
        for entry in tuple(self._batches):
            batch, since = entry
            if batch.over:
                self._batches.remove(entry)
            elif now - since > LATE and not batch.late:
                self.workers.submit(batch.announce)
        for teardown in tuple(self.teardowns):
            teardown.nudge()
            if now - teardown.started > teardown.connection.close_timeout:
                self.workers.submit(teardown.abandon)

    def _report_slow(self, client: Client) -> None:
        error = SlowCallbackError(
            "a callback or subscriber held the thread that serves delivery reports"
        )
        self.workers.submit(lambda: client.reports.poller_slow(error))


def _nothing() -> None:
    """The poller wakes, and sees by itself what it has to do."""


class _Reap:
    """A due slot's turn on a closer thread."""

    __slots__ = ("_batch", "_connection")

    def __init__(self, connection: Connection, batch: TeardownBatch) -> None:
        self._connection = connection
        self._batch = batch

    def __call__(self) -> None:
        try:
            self._connection.disconnect_if_due(self._batch)
        except Exception as error:
            if from_signal_handler(error):
                raise
            self._connection.emitter.error("producer.disconnect.error", error)


RUNTIME: Final = Runtime()
