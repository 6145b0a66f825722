"""The producer: what a user holds."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn, cast

from waterdrop_py._engine.assembly import Components
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.borrowing import Pinned
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.connection.partition_lookup import partition_count
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py._engine.introspection import probe
from waterdrop_py._engine.introspection.idle import IdleReport, explain_idle
from waterdrop_py._engine.introspection.stats import Health, ProducerStats
from waterdrop_py._engine.produce.validation import checked_topic
from waterdrop_py._engine.reports.accounting import DrainReport
from waterdrop_py._engine.shutdown import close, exit, fork
from waterdrop_py._settings.arguments import count, required_seconds, seconds
from waterdrop_py.config import Config
from waterdrop_py.errors import StatisticsNotEnabledError, TransactionalCloseError
from waterdrop_py.middleware import Middleware
from waterdrop_py.monitor import Monitor
from waterdrop_py.monitor import monitor as shared_monitor
from waterdrop_py.sender import Sender
from waterdrop_py.typing import NativeClient
from waterdrop_py.variant import Variant, parts_of_variant

fork.install()
exit.install()


class Producer(Sender):
    """A Kafka producer that costs nothing while it is idle.

    `Producer(config)` takes a `Config`, a mapping of its options, or a URL, and options
    beside either, which win (`kafka` is merged, property by property); or the options
    as keywords. Constructing one opens no socket and starts no thread; the first send
    does. With an `idle_disconnect_timeout`, the client (sockets,
    librdkafka's threads, descriptors) is destroyed once nothing was sent for that
    long, and the next send opens a new one. Thread-safe. A context manager that
    closes on leaving. It can be neither copied nor pickled.

    Raises:
        ConfigurationInvalidError: with every violation at once.
    """

    __slots__ = ("_config", "_emitter", "_monitor")

    def __init__(
        self,
        /,
        config: Config | Mapping[str, Any] | str | None = None,
        **options: Any,
    ) -> None:
        self._config = Config.of(config, options)
        me = weakref.ref(self)
        self._monitor = Monitor(
            partial(_weakly, me, Producer._refresh),
            partial(_weakly, me, Producer._guard_subscription),
        )
        name = self._config.id or f"waterdrop-{os.urandom(6).hex()}"
        emitter = Emitter(self, name, self._config.tags, self._monitor, shared_monitor)
        self._emitter = emitter
        middleware = Middleware(self._config.middleware)
        self._adopt(
            Components.assemble(self._config, emitter, middleware, self._config.kafka)
        )
        emitter.emit("producer.created", {"producer": self})
        emitter.emit("producer.configured", {"producer": self, "config": self._config})

    @property
    def middleware(self) -> Middleware:
        """The steps that every message goes through before it is validated."""
        return self._components.middleware

    def variant(
        self,
        *,
        topic_config: Mapping[str, Any] | None = None,
        max_wait_timeout: int | timedelta | str | None = None,
    ) -> Variant:
        """The same verbs, with other settings.

        `topic_config` has librdkafka's per-topic properties (`acks`,
        `compression.type`, `message.timeout.ms` and the like), `max_wait_timeout` is
        an option: ms, a `timedelta`, or text with a unit. Opens nothing.

        Raises:
            VariantInvalidError: with every violation.
            ProducerClosedError: the producer is closed.
        """
        self._connection.refuse_closed()
        components = parts_of_variant(self._components, topic_config, max_wait_timeout)
        self._connection.refuse_closed()  # else a close meanwhile had not found it
        return Variant(self, components)

    # -- the client's life -------------------------------------------------

    def connect(
        self,
        timeout: float | timedelta = 30.0,
        *,
        errback: Callable[[BaseException, float], object] | None = None,
        max_retries: int | None = None,
        interval_start: float | timedelta = 2,
        interval_step: float | timedelta = 2,
        interval_max: float | timedelta = 30,
    ) -> Producer:
        """Open the client now, and prove it with the cluster's metadata.

        Blocks for at most `timeout` seconds in all, and Ctrl-C ends it at once. A try
        ends with the cluster's answer, however slow, or with an error that librdkafka
        reports of all brokers. Before each retry `errback(error, interval)` is called,
        and `interval` seconds pass: `interval_start` first, `interval_step` more each
        time, at most `interval_max`. Returns the producer.

        Asks for the topic last sent to, and before any for a name that Kafka refuses,
        so that no topic is created. Counts as activity.

        Raises:
            BrokerUnreachableError: no broker answered, with a checklist. At once, with
                `retriable` False, for refused credentials, a certificate, a missing
                right, and a fatal error.
            ProduceError: `too_many_clients`: none fits into this process any more.
            InvalidArgumentError: an argument is not what it takes.
            ProducerClosedError: the producer is closed.
        """
        retries = probe.Retries(
            count("max_retries", max_retries),
            required_seconds("interval_start", interval_start),
            required_seconds("interval_step", interval_step),
            required_seconds("interval_max", interval_max),
            errback,
        )
        probe.connect(self._connection, required_seconds("timeout", timeout), retries)
        return self

    def disconnect(self) -> bool:
        """Close the client if that is safe now; False when it is not, or none is open.

        It never waits for a send in progress. Blocks for at most `close_timeout`, until
        the client is destroyed and `producer.disconnected` was told (subscribers keep
        it for 0.2 s at most); inside a callback of the client not at all. Thread-safe.
        """
        connection = self._connection
        client = connection.client
        teardown = disconnect(connection, "requested").teardown
        if teardown is None:
            return False
        if not client.polled_by_this_thread():
            teardown.wait(self._config.close_timeout / 1000)
        return True

    def native(self) -> AbstractContextManager[NativeClient]:
        """The open confluent_kafka client itself, which stays open inside the block.

        `with producer.native() as client: client.list_topics()`. Opens one if need
        be, and blocks for that only. For what the library does not wrap: metadata,
        `set_sasl_credentials` and the like. What is set on it ends with that client.
        The client must not be closed, and not be used after the block. Each `with`
        takes a `native()` of its own.

        Raises:
            ProduceError: no client could be opened, or a fatal error stays.
            ProducerClosedError: the producer is closed.
            WaterdropError: this block is entered already.
        """
        return cast("AbstractContextManager[NativeClient]", Pinned(self._connection))

    def explain_idle(self) -> IdleReport:
        """Why the client is, or is not, disconnectable, and the ms to its deadline.

        Opens nothing, never blocks, takes no lock.
        """
        return explain_idle(self._connection)

    def close(
        self, timeout: float | timedelta | None = None, *, force: bool = False
    ) -> DrainReport:
        """Deliver what is on its way, give up the rest, and close for good.

        Blocks for at most `timeout` seconds (None: `close_timeout`) and 0.5 s more,
        also with every broker down; 5 us more for each message beyond 100 000.
        Every handle is resolved then. `force=True` gives everything up at once.
        Idempotent and thread-safe. Called inside one of the producer's own
        callbacks or verbs it closes in the background, and says `complete=False`.

        Raises:
            InvalidArgumentError: `timeout` is not a duration.
            TransactionalCloseError: called inside a transaction of the producer.
        """
        bound = seconds("timeout", timeout)
        if bound is None:
            bound = self._config.close_timeout / 1000
        check()
        if self.in_transaction:
            raise TransactionalCloseError(
                "close() inside a transaction block; leave the block first"
            )
        deadline = clock.system_now() + bound
        # The producer first: a variant that is made from then on is refused.
        close.begin(self._connection, bound, force=force)
        variants = list(self._components.variants.values())
        connections = [self._connection, *(each.connection for each in variants)]
        for connection in connections:
            connection.hooks.reopen_with(None)  # closed for good
        for connection in connections[1:]:
            left = max(0.0, deadline - clock.system_now())
            close.begin(connection, left, force=force)
        reports = []
        for connection in connections:
            left = max(0.0, deadline - clock.system_now())
            reports.append(close.close(connection, left, force=force))
        self._connection.runtime.rest()
        return close.combined(reports)

    def health(self, *, deep: bool = False, timeout: float | timedelta = 5.0) -> Health:
        """Whether the producer works.

        Shallow: opens nothing, sends nothing, never blocks, is not activity; an idle
        producer is healthy. Not healthy: a fatal error that stays, and, while messages
        are un-acknowledged, an error as the newest thing heard from the brokers. Deep:
        as `connect`, one try of `timeout` seconds at most. Raises nothing for a broker
        that is away or a client that cannot be opened: the answer has the error.
        """
        bound = required_seconds("timeout", timeout)
        return probe.health(self._connection, bound if deep else None)

    def stats(self) -> ProducerStats:
        """Figures since the producer was made. Takes no lock, opens nothing."""
        return self._components.stats()

    # -- what it is --------------------------------------------------------

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
        """Where this producer's events are subscribed to."""
        return self._monitor

    @property
    def tags(self) -> Mapping[str, str]:
        """What rides on every event."""
        return self._config.tags

    @property
    def status(self) -> Status:
        """What it is doing."""
        return self._connection.status

    @property
    def is_connected(self) -> bool:
        """Whether a client is open."""
        check()
        return self._connection.known is not None

    @property
    def is_transactional(self) -> bool:
        """Whether it has a `transactional.id`."""
        return self._connection.factory.is_transactional

    @property
    def is_idempotent(self) -> bool:
        """Whether librdkafka retries without doubling (transactional ones do too)."""
        return self._connection.factory.is_idempotent

    @property
    def queue_size(self) -> int:
        """Messages without an outcome yet. Opens nothing, never blocks."""
        return self.stats().in_flight

    @property
    def idle_ms(self) -> float | None:
        """Milliseconds since the last activity of the open client; None without."""
        check()
        client = self._connection.known
        return None if client is None else (clock.now() - client.last_activity) * 1000

    def partition_count(self, topic: str) -> int:
        """The number of partitions of `topic`, cached once known.

        Blocks for at most 5 s for the first look-up, and opens the client for it. A
        number that is 5 minutes old is asked again in the background, and this one
        returned. That a topic is missing is remembered for 2 s.

        Raises:
            MessageInvalidError: `topic` is not a topic's name.
            ProduceError: the topic is unknown, no broker answered, or a fatal error
                stays.
        """
        self._connection.refuse_lost()  # also where the count is known
        return partition_count(self._connection, checked_topic(topic))

    def __len__(self) -> int:
        return self.queue_size

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The constructor may have raised. And after the exit handler the modules may be
        # empty already: nothing is looked up then but attributes
        # (test_a_producer_in_a_module_that_was_imported_earlier).
        components = getattr(self, "_components", None)
        if components is not None and not components.connection.runtime.ended:
            for each in (components, *components.variants.values()):
                close.abandon(each.connection)

    def __repr__(self) -> str:
        figures = f"in_flight={self.queue_size}"
        if self.buffer_size:
            figures += f" buffered={self.buffer_size}"
        return f"<Producer {self.id!r} {self.status} {figures}>"

    def __copy__(self) -> NoReturn:
        raise TypeError("a Producer cannot be copied: it owns a client")

    def __deepcopy__(self, _: object) -> NoReturn:
        raise TypeError("a Producer cannot be copied: it owns a client")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Producer cannot be pickled: it owns a client")

    def _refresh(self) -> None:
        self._connection.refresh()
        for each in list(self._components.variants.values()):
            each.connection.refresh()

    def _guard_subscription(self, name: str) -> None:
        client = self._connection.known
        if (
            name == "statistics.emitted"
            and client is not None
            and not client.statistics
        ):
            raise StatisticsNotEnabledError(
                "the open client was built while nobody listened to "
                "statistics.emitted, and emits none; subscribe before the first send, "
                "subscribe a listener object, or disconnect() first"
            )


Variant.answer(
    {
        name: f"a variant only sends; it is variant.producer.{name}"
        for name in vars(Producer)
        if not name.startswith("_")
    }
)


def _weakly(
    reference: weakref.ref[Producer], method: Callable[..., object], *arguments: object
) -> None:
    """Call `method` of the producer, if it lives.

    Whoever serves the client's reports has the monitor; were the producer kept by
    that, one that is dropped without `close()` would never be collected, and its
    client never be closed. A `WeakMethod` would do, and take 0.75 KB for each.
    """
    producer = reference()
    if producer is not None:
        method(producer, *arguments)
