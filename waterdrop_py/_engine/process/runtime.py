"""What the process has one of: the registry, the poller, the reaper, the workers."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from waterdrop_py._engine.client.reachability import REACH
from waterdrop_py._engine.concurrency import background, clock, threads, users_code
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.process.blocking_poller import BlockingPollers
from waterdrop_py._engine.process.closes import Closes
from waterdrop_py._engine.process.fork_guard import ForkGuard
from waterdrop_py._engine.process.leak_check import SECONDARY, LeakCheck
from waterdrop_py._engine.process.poller import Poller
from waterdrop_py._engine.process.reaper import Reapable, Reaper
from waterdrop_py._engine.process.workers import Workers
from waterdrop_py.monitor import on_shared_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waterdrop_py._engine.client.client import Client

END: Final = 0.5
"""Seconds that the exit waits for the library's threads. They end within milliseconds
unless user code or a hanging close holds one up."""
REST: Final = 0.1
"""Seconds that the last `close()` waits for the library's threads."""
HELD_UP: Final = 0.02
"""Seconds of one job after which the last `close()` does not wait for its thread."""


class Registered(Reapable, Protocol):
    """What the process asks of a connection."""

    @property
    def is_closed(self) -> bool:
        """Whether its producer is closed."""

    def refresh(self) -> None:
        """The subscriptions to the shared monitor have changed."""

    def clients(self) -> list[Client]:
        """Its clients that are not destroyed yet."""


class Part(Protocol):
    """What a room above has one of in each process."""

    def reset(self) -> None:
        """Start afresh: this is a forked child."""

    def due_jobs(self, now: float) -> list[Callable[[], None]]:
        """Called once a second, with `now` on the real clock: what a worker runs."""


class _Reference(weakref.ref[Registered]):
    """A weak reference to a connection, and the key that the registry has it by."""

    __slots__ = ("key",)
    key: int


class Runtime:
    """The parts that all producers of a process share. Thread-safe, no lock.

    The registry keeps `id -> weakref`: a WeakSet that a fork caught in the middle
    of an iteration would never purge again.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._close_due: Callable[[Any, list[Any]], None] = _close_none
        self.reset()
        background.run_by(self._submit)
        LOG.wake_by(self._wake_poller)
        clock.on_jump(self._wake_reaper)

    def reset(self) -> None:
        """Start afresh, with nothing running: at import, and in a forked child."""
        LOG.reset()
        REACH.reset()
        users_code.HOME.reset()
        for part in self._parts:
            part.reset()
        self._registry: dict[int, _Reference] = {}
        self._closing: list[None] = []
        self._gone = self._forget  # one for all: a closure each takes 0.2 KB
        # Whether the exit handler has run: finalizers do nothing then.
        self.ended = False
        self.fork_guard = ForkGuard()
        self.closes = Closes(self._submit)
        self.leak_check = LeakCheck(self.closes, self._holds_clients, self._submit)
        self.workers = Workers(self._run_on_poller)
        self.blocking_pollers = BlockingPollers()
        self.poller = Poller(self._submit, self._every_second, LOG.has_due)
        self.reaper = Reaper(self._close, self._check)

    def add_part(self, part: Part) -> None:
        """Reset `part` in a forked child, and run its jobs once a second."""
        self._parts.append(part)

    def on_due(self, close_due: Callable[[Any, list[Any]], None]) -> None:
        """Call `close_due(runtime, connections)` on the reaper when some are due."""
        self._close_due = close_due

    def _submit(self, job: Callable[[], None]) -> None:
        self.workers.submit(job)

    def run_users_code(self, job: Callable[[], None]) -> None:
        """Have `job`, which calls the user's code, run where that may wait.

        Perhaps twice, where no thread can start.
        """
        users_code.run(job)
        if self.workers.left_to_this_thread:
            job()

    def _wake_poller(self) -> None:
        self.poller.do(_nothing)

    def end(self) -> None:
        """End the threads: every producer is closed, and the process ends."""
        self.ended = True
        self.leak_check.end()
        self._end_threads()
        threads.end(END)

    @property
    def without_threads(self) -> bool:
        """Whether no thread may start: each send waits until it is delivered."""
        return threads.forbidden()

    @contextmanager
    def during_close(self) -> Iterator[None]:
        """Surround the wait of a `close()`."""
        try:
            self._closing.append(None)
            yield
        finally:
            self._closing.pop()

    def end_threads_if_unused(self) -> None:
        """End the threads if the last producer was closed, and no `close()` waits.

        Each of 1000 closes side by side would wait for threads, which the next one
        starts again: 5.3 s in all, in place of 0.2 s
        (test_only_the_last_of_many_closes).

        Blocks for at most REST seconds, and not for a thread that is held up or stays
        for the log. A sub-interpreter can only be ended without threads: there it
        blocks for at most END seconds, and writes what the log holds back.
        """
        if self.ended or self._closing:
            return
        if not all(each.is_closed for each in self.registered()):
            return
        if SECONDARY:
            LOG.flush()
        self._end_threads()
        if SECONDARY:
            threads.wait(END, lambda: False)
        else:
            now, held_up = clock.system_now(), self.workers.held_up
            threads.wait(REST, lambda: LOG.has_due() or held_up(HELD_UP, now))

    def _end_threads(self) -> None:
        for part in (
            self.reaper,
            self.poller,
            self.blocking_pollers,
            self.workers,
        ):
            part.end_if_idle()

    def _wake_reaper(self) -> None:
        self.reaper.wake()  # a forked child has another reaper

    # -- the registry ------------------------------------------------------

    def register(self, connection: Registered) -> None:
        """Add a connection, at its first open. Again does no harm."""
        key, registry = id(connection), self._registry
        if key not in registry:
            reference = _Reference(connection, self._gone)
            reference.key = key
            registry[key] = reference

    def _forget(self, reference: _Reference) -> None:
        self._registry.pop(reference.key, None)

    def registered(self) -> list[Registered]:
        """Every connection that has opened a client and is still referenced."""
        alive = [reference() for reference in list(self._registry.values())]
        return [connection for connection in alive if connection is not None]

    def count(self) -> int:
        """How many are registered."""
        return len(self._registry)

    def refresh(self) -> None:
        """The subscriptions to the shared monitor have changed."""
        for connection in self.registered():
            connection.refresh()

    def clients(self) -> list[Client]:
        """Every client of the library that is not destroyed yet."""
        return [
            *(client for each in self.registered() for client in each.clients()),
            *self.closes.clients(),
        ]

    def _holds_clients(self) -> bool:
        """Whether a client of the library is open, opening or not destroyed yet."""
        return self.fork_guard.opening or any(
            connection.clients() for connection in self.registered()
        )

    # -- what the threads do -----------------------------------------------

    def _run_on_poller(self, job: Callable[[], None]) -> None:
        self.poller.do(job)

    def _every_second(self, clients: set[Client]) -> None:
        """Check the clients, and write the log lines that are due. On the poller."""
        now = clock.system_now()
        jobs = REACH.check(clients, now)
        for part in self._parts:
            jobs = [*jobs, *part.due_jobs(now)]
        for job in jobs:
            self.workers.submit(job)
        LOG.write_due()

    def _close(self, due: list[Reapable]) -> None:
        self._close_due(self, due)

    def _check(self) -> bool:
        """Check closes and jobs; whether there are any. On the reaper."""
        self.workers.start_if_needed()
        closing = self.closes.check()
        return closing or self.workers.waiting()


def _nothing() -> None:
    """Wakes the poller, which finds out by itself what it has to do."""


def _close_none(_: Any, __: list[Any]) -> None:
    """Connections fall due only after `on_due` was called."""


RUNTIME: Final = Runtime()
on_shared_change(RUNTIME.refresh)
