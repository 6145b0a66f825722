"""An engine without threads: what it would do, the test does when it wants."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, cast

from waterdrop_py import Config
from waterdrop_py._engine.client.factory import Factory
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.connection.teardown import TeardownBatch
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py._engine.process.fork_guard import ForkGuard
from waterdrop_py._engine.process.reaper import Schedule
from waterdrop_py._engine.produce.dispatch import Dispatch
from waterdrop_py.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doubles import Bench
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.process.runtime import Runtime
    from waterdrop_py._engine.reports.handler import ReportHandler


class StillEngine:
    """The shared parts, each a list of what it was asked to do."""

    def __init__(self) -> None:
        self.teardowns: dict[object, None] = {}
        self.jobs: list[Callable[[], None]] = []
        self.armed: list[Client] = []
        self.schedule = Schedule()
        self.fork_guard = ForkGuard()
        self._traffic = count()
        self.workers = self.poller = self.reaper = self.leak_check = self
        self.look_at = self.schedule.look_at
        self.prompt = False
        self.ended = self.without_threads = False
        self.poll_soon = self.armed.append

    def register(self, connection: object) -> None:
        """No registry."""

    def submit(self, job: Callable[[], None]) -> None:
        """Keep it for `run_jobs`, or run it at once."""
        if self.prompt:
            job()
        else:
            self.jobs.append(job)

    def do(self, job: Callable[[], None]) -> None:
        """What the poller would do, at once."""
        job()

    def relieve(self) -> None:
        """No threads."""

    def closed(self, connection: object, client: object) -> None:
        """Nobody looks for what stayed behind."""

    def note_traffic(self) -> None:
        """Count a move."""
        next(self._traffic)

    def traffic(self) -> int:
        """Moves so far."""
        return peek(self._traffic)

    def open(self, factory: Factory, client: Client, reports: ReportHandler) -> None:
        """Construct a client."""
        factory.open(client, reports)

    def batch(
        self, connections: list[Connection], *, silent: bool = False
    ) -> TeardownBatch:
        """Clients that are closed together."""
        return TeardownBatch(
            cast("Runtime", self), len(connections), measure=False, silent=silent
        )

    def forget(self, teardown: object) -> None:
        """A close has ended."""
        del self.teardowns[teardown]

    def run_jobs(self) -> None:
        """What the closers would do."""
        while self.jobs:
            self.jobs.pop(0)()


class Owner:
    """Somebody whom the emitter may speak for."""


class StillProducer:
    """A slot and its dispatch on a still engine."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        self.owner = Owner()
        self.monitor = Monitor()
        self.config = Config(**bench.options(**options))
        self.runtime = StillEngine()
        emitter = Emitter(self.owner, "still", {}, self.monitor, Monitor())
        self.connection = Connection(
            cast("Runtime", self.runtime),
            Factory(self.config, emitter),
            emitter,
            idle_timeout=self.config.idle_disconnect_timeout / 1000,
            max_age=self.config.max_connection_age / 1000,
            close_timeout=1.0,
            close_before_fork=None,
        )
        self.dispatch = Dispatch(self.config, self.connection, emitter)
