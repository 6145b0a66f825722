"""A runtime without threads: the test does what they would do, when it wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tests.doubles import Bench
from waterdrop_py import Config
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.factory import Factory
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.connection.idle_policy import IdlePolicy
from waterdrop_py._engine.connection.resending import Resending
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py._engine.process.closes import Closes
from waterdrop_py._engine.process.fork_guard import ForkGuard
from waterdrop_py._engine.process.reaper import Schedule
from waterdrop_py._engine.produce.dispatch import Dispatch
from waterdrop_py._engine.produce.validation import fill
from waterdrop_py.message import Message
from waterdrop_py.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.concurrency.future import Future
    from waterdrop_py._engine.process.runtime import Runtime
    from waterdrop_py.delivery import DeliveryHandle


class StillRuntime:
    """The shared parts, each a list of what it was asked to do."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.armed: list[Client] = []
        self.schedule = Schedule()
        self.fork_guard = ForkGuard()
        self.closes = Closes(self.submit)
        self.workers = self.poller = self.reaper = self.leak_check = self
        self.blocking_pollers = self
        self.attend = self.armed.append
        self.reschedule = self.schedule.add
        self.prompt = False
        self.none_starts = self.polls_here = False
        self.ended = self.without_threads = False
        self.poll_soon = self.armed.append
        self.run_users_code = self.submit

    def register(self, connection: object) -> None:
        """No registry."""

    def submit(self, job: Callable[[], None]) -> None:
        """Keep it for `run_jobs`, or run it at once; what has arrived is settled at
        once."""
        if self.prompt or isinstance(getattr(job, "__self__", None), Client):
            job()
        else:
            self.jobs.append(job)

    def do(self, job: Callable[[], None]) -> None:
        """What the poller would do, at once."""
        job()

    def waiting(self) -> bool:
        """Whether a job has not begun."""
        return bool(self.jobs)

    def wait(self, job: Future[Any], deadline: float, end: Future[Any]) -> bool:
        """What a caller that waits for a worker sees: here, at once."""
        job()
        return end.done

    def start_if_needed(self) -> None:
        """No threads."""

    def closed(self, connection: object, client: object) -> None:
        """Nothing checks what stayed behind."""

    def count(self) -> int:
        """So many connections that nothing is measured."""
        return 1_000_000

    def run_jobs(self) -> None:
        """What the workers would do."""
        while self.jobs:
            self.jobs.pop(0)()


class Owner:
    """Stands for the producer in the emitter."""


class StillProducer:
    """A connection and its dispatch on a still runtime."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        self.owner = Owner()
        self.monitor = Monitor()
        self.config = Config(**bench.options(**options))
        self.runtime = StillRuntime()
        emitter = Emitter(self.owner, "still", {}, self.monitor, Monitor())
        self.connection = Connection(
            cast("Runtime", self.runtime),
            Factory(self.config, emitter),
            emitter,
            policy=IdlePolicy(
                self.config.idle_disconnect_timeout / 1000,
                self.config.max_connection_age / 1000,
            ),
            close_timeout=1.0,
            close_before_fork=None,
            resending=Resending,
        )
        self.dispatch = Dispatch(self.config, self.connection)


def sent() -> tuple[DeliveryHandle, StillProducer]:
    """A handle whose report comes with the next poll, and its producer."""
    producer = StillProducer(Bench())
    handle = fill(Message("t", b"x"), None)
    producer.dispatch.send(handle, "message.produce_async")
    return handle, producer
