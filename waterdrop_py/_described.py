"""`Described`: what a producer says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from waterdrop_py._engine.assembly import Components
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._engine.introspection.idle import IdleReport, explain_idle
from waterdrop_py._engine.introspection.stats import ProducerStats
from waterdrop_py.config import Config
from waterdrop_py.middleware import Middleware
from waterdrop_py.monitor import Monitor


class Described:
    """A base class of `Producer` and of `AsyncProducer`. Thread-safe."""

    __slots__ = ()
    _components: Components

    def explain_idle(self) -> IdleReport:
        """Why the client is, or is not, disconnectable, and the ms to its deadline.

        Opens nothing, never blocks, takes no lock.

        Example:
            >>> [reason.code for reason in producer.explain_idle().reasons]
            ['not_connected']
        """
        return explain_idle(self._components.connection)

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
        return self._components.emitter.producer_id

    @property
    def config(self) -> Config:
        """The configuration."""
        return self._components.config

    @property
    def monitor(self) -> Monitor:
        """The monitor at which this producer's events are subscribed to."""
        return self._components.emitter.monitor

    @property
    def middleware(self) -> Middleware:
        """The steps that every message goes through before it is validated."""
        return self._components.middleware

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags that every event carries."""
        return self._components.config.tags

    @property
    def status(self) -> Status:
        """What the producer is doing."""
        return self._components.connection.status

    @property
    def is_connected(self) -> bool:
        """Whether a client is open."""
        check()
        return self._components.connection.current_client is not None

    @property
    def is_transactional(self) -> bool:
        """Whether it has a `transactional.id`."""
        return self._components.connection.factory.is_transactional

    @property
    def is_idempotent(self) -> bool:
        """Whether librdkafka's retries duplicate nothing; True if transactional."""
        return self._components.connection.factory.is_idempotent

    @property
    def queue_size(self) -> int:
        """The number of messages without an outcome. Opens nothing, never blocks."""
        return self.stats().in_flight

    @property
    def idle_ms(self) -> float | None:
        """Milliseconds since the last activity of the open client; None without one."""
        check()
        client = self._components.connection.current_client
        return None if client is None else (clock.now() - client.last_activity) * 1000

    def __len__(self) -> int:
        return self.queue_size

    def __bool__(self) -> bool:
        return True
