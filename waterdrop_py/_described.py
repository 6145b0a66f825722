"""`Described`: what a producer says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from waterdrop_py._engine.assembly import Components
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py._engine.introspection import probe
from waterdrop_py._engine.introspection.health import Health
from waterdrop_py._engine.introspection.idle import IdleReport, explain_idle
from waterdrop_py._engine.introspection.stats import ProducerStats
from waterdrop_py._settings.arguments import flag, required_seconds
from waterdrop_py.config import Config
from waterdrop_py.monitor import Monitor


class Described:
    """A base class of `Producer`, which makes its parts. Thread-safe."""

    __slots__ = ()
    _components: Components
    _config: Config
    _connection: Connection
    _emitter: Emitter
    _monitor: Monitor

    def explain_idle(self) -> IdleReport:
        """Why the client is, or is not, disconnectable, and the ms to its deadline.

        Opens nothing, never blocks, takes no lock.

        Example:
            >>> [reason.code for reason in producer.explain_idle().reasons]
            ['not_connected']
        """
        return explain_idle(self._connection)

    def health(self, *, deep: bool = False, timeout: float | timedelta = 5.0) -> Health:
        """Whether the producer works.

        Shallow: opens nothing, sends nothing, never blocks, and is not activity. An
        idle producer is healthy. Not healthy: a fatal error that stays; while messages
        are un-acknowledged, an error as the newest message from the brokers. Deep: like
        `connect`, with one try of at most `timeout` seconds. An unreachable broker, or
        a client that cannot be opened, raises nothing: the answer has the error.

        Args:
            deep: ask the cluster, too.
            timeout: seconds of a deep check, or a `timedelta`.

        Raises:
            InvalidArgumentError: an argument is invalid.

        Example:
            >>> producer.health().healthy, producer.health(deep=True).healthy
            (True, True)
        """
        bound = required_seconds("timeout", timeout)
        return probe.health(self._connection, bound if flag("deep", deep) else None)

    def stats(self) -> ProducerStats:
        """Counters since the producer was made. Takes no lock, opens nothing.

        Example:
            >>> report = producer.produce_sync("orders", b"first")
            >>> producer.stats().opens, producer.stats().acknowledged
            (1, 1)
        """
        return self._components.stats()

    @property
    def id(self) -> str:
        """The name in events and logs."""
        return self._emitter.producer_id

    @property
    def config(self) -> Config:
        """The configuration."""
        return self._config

    @property
    def monitor(self) -> Monitor:
        """The monitor at which this producer's events are subscribed to."""
        return self._monitor

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags that every event carries."""
        return self._config.tags

    @property
    def status(self) -> Status:
        """What the producer is doing."""
        return self._connection.status

    @property
    def is_connected(self) -> bool:
        """Whether a client is open."""
        check()
        return self._connection.current_client is not None

    @property
    def is_transactional(self) -> bool:
        """Whether it has a `transactional.id`."""
        return self._connection.factory.is_transactional

    @property
    def is_idempotent(self) -> bool:
        """Whether librdkafka's retries duplicate nothing; True if transactional."""
        return self._connection.factory.is_idempotent

    @property
    def queue_size(self) -> int:
        """The number of messages without an outcome. Opens nothing, never blocks."""
        return self.stats().in_flight

    @property
    def idle_ms(self) -> float | None:
        """Milliseconds since the last activity of the open client; None without one."""
        check()
        client = self._connection.current_client
        return None if client is None else (clock.now() - client.last_activity) * 1000

    def __len__(self) -> int:
        return self.queue_size

    def __bool__(self) -> bool:
        return True
