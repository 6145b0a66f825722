"""`Producer`, the object that a user holds, and `Variant`: each verb delegates."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, cast

from waterdrop_py._described import Described
from waterdrop_py._engine.assembly import assemble
from waterdrop_py._engine.connection.borrowing import Pinned
from waterdrop_py._engine.connection.partition_lookup import partition_count
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py._engine.introspection import probe
from waterdrop_py._engine.introspection.accounts import Labels
from waterdrop_py._engine.introspection.health import Health
from waterdrop_py._engine.produce.validation import checked_topic
from waterdrop_py._engine.reports.accounting import DrainReport
from waterdrop_py._engine.shutdown import exit, fork
from waterdrop_py._front_end import components_of
from waterdrop_py._settings.arguments import flag, required_seconds, seconds
from waterdrop_py.config import Config
from waterdrop_py.middleware import Middleware
from waterdrop_py.monitor import Monitor
from waterdrop_py.monitor import monitor as shared_monitor
from waterdrop_py.sender import Sender
from waterdrop_py.typing import NativeClient

fork.install()
exit.install()


class Producer(Described, Sender):
    """A Kafka producer that costs nothing while it is idle.

    `Producer(config)` takes a `Config`, a mapping of its options, or a URL. Keyword
    options may be added, which win (`kafka` is merged, property by property), or used
    alone. The constructor opens no socket and starts no thread; the first send does.
    With an `idle_disconnect_timeout`, the client with its sockets, threads and
    descriptors is destroyed once nothing was sent for that long. The next send opens a
    new one. Thread-safe. A context manager that closes it. Not to be copied or pickled.

    Args:
        config: a `Config`, a mapping of its options, or a URL.
        options: options of `Config`.

    Raises:
        ConfigurationInvalidError: with every violation at once.

    Example:
        >>> kafka = {"bootstrap.servers": "localhost:9092"}
        >>> with Producer(kafka=kafka, idle_disconnect_timeout="3m") as producer:
        ...     producer.produce_sync("orders", b"first", key="42").topic
        'orders'
    """

    __slots__ = ()

    def __init__(
        self,
        /,
        config: Config | Mapping[str, Any] | str | None = None,
        **options: Any,
    ) -> None:
        made = Config.of(config, options)
        # An open client keeps the monitor. If that kept the producer, one that is
        # dropped without `close()` would never be collected.
        watch = _Watch(self)
        monitor = Monitor(watch.changed, watch.guard, self._parent_monitor())
        name = made.id or f"waterdrop-{os.urandom(6).hex()}"
        emitter = Emitter(self, name, made.tags, monitor, shared_monitor)
        self._adopt(assemble(made, emitter, Middleware(made.middleware), made.kafka))
        self._components.open_account(self._labels())
        emitter.emit("producer.created", {"producer": self})
        emitter.emit("producer.configured", {"producer": self, "config": made})

    def variant(
        self,
        *,
        topic_config: Mapping[str, Any] | None = None,
        max_wait_timeout: int | timedelta | str | None = None,
    ) -> Variant:
        """The same verbs with other settings. Opens nothing.

        Args:
            topic_config: librdkafka's per-topic properties, such as `acks`,
                `compression.type` and `message.timeout.ms`.
            max_wait_timeout: as the option: ms, a `timedelta`, or text with a unit.

        Raises:
            VariantInvalidError: with every violation.
            ProducerClosedError: the producer is closed.

        Example:
            >>> fast = producer.variant(topic_config={"acks": 1})
            >>> fast.produce_sync("orders", b"first").error is None
            True
        """
        self._connection.refuse_closed()
        components = self._components.variant(topic_config, max_wait_timeout)
        self._connection.refuse_closed()  # a close meanwhile may have missed it
        return Variant(self, components)

    # -- the client --------------------------------------------------------

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

        Returns the producer. Blocks for at most `timeout` seconds in all; Ctrl-C ends
        it at once. A try ends with the cluster's answer, however slow, or with an error
        of all brokers that librdkafka reports.

        Asks for the topic last sent to. Before the first send it asks for a name that
        Kafka refuses, so that no topic is created. Counts as activity.

        Args:
            timeout: seconds in all, or a `timedelta`.
            errback: called before each retry, with the error and the seconds to wait.
            max_retries: how many retries follow the first try; None: no limit.
            interval_start: seconds before the first retry.
            interval_step: seconds that each further interval is longer.
            interval_max: seconds of the longest interval.

        Raises:
            BrokerUnreachableError: no broker answered, with a checklist. At once, with
                `retriable` False, for refused credentials, a certificate, a missing
                right, and a fatal error.
            ProduceError: `too_many_clients`: this process cannot open another one.
            InvalidArgumentError: an argument is invalid.
            ProducerClosedError: the producer is closed.

        Example:
            >>> producer.connect(timeout=10).is_connected
            True
        """
        retries = probe.Retries(
            max_retries, interval_start, interval_step, interval_max, errback
        )
        probe.connect(self._connection, required_seconds("timeout", timeout), retries)
        return self

    def disconnect(self) -> bool:
        """Close the client if that is safe now. False if it is not, or none is open.

        Never waits for a send in progress. Blocks for at most `close_timeout`, until
        the client is destroyed and the subscribers of `producer.disconnected` have
        returned (0.2 s for them at most); inside a callback of the client only until it
        is decided. Ctrl-C ends the wait. Runs on a library thread. Thread-safe.

        Example:
            >>> report = producer.produce_sync("orders", b"first")
            >>> producer.disconnect(), str(producer.status)
            (True, 'disconnected')
        """
        return self._components.disconnect()

    def native(self) -> AbstractContextManager[NativeClient]:
        """The open confluent_kafka client itself, which stays open inside the block.

        For what the library does not wrap: metadata, `set_sasl_credentials` and the
        like. What is set on the client ends with it. It must not be closed, nor used
        after the block. Opens one if need be, and blocks only for that. Each `with`
        needs its own `native()`.

        Raises:
            ProduceError: no client could be opened, or a fatal error stays.
            ProducerClosedError: the producer is closed.
            WaterdropError: this block is entered already.

        Example:
            >>> with producer.native() as client:
            ...     len(client.list_topics(timeout=10).brokers)
            3
        """
        return cast("AbstractContextManager[NativeClient]", Pinned(self._connection))

    def close(
        self, timeout: float | timedelta | None = None, *, force: bool = False
    ) -> DrainReport:
        """Deliver what is buffered and in flight, give up the rest, and close for good.

        Every handle is resolved when it returns. `force=True` gives everything up at
        once. Blocks for at most `timeout` seconds (None: `close_timeout`) and 0.5 s
        more, also with every broker down; 5 us more for each message beyond 100 000.
        Runs on a library thread, and so do the subscribers of its events; Ctrl-C ends
        the wait at once, and the close continues. Idempotent and thread-safe. Called
        inside one of the producer's own callbacks or verbs, it closes in the background
        and returns `complete=False`.

        Args:
            timeout: seconds, or a `timedelta`.
            force: give up everything at once.

        Raises:
            InvalidArgumentError: `timeout` is not a duration, or `force` not a bool.
            TransactionalCloseError: called inside a transaction of the producer.

        Example:
            >>> handle = producer.produce_async("orders", b"last")
            >>> drained = producer.close(timeout=10)
            >>> drained.complete, drained.undelivered
            (True, [])
        """
        bound = seconds("timeout", timeout)
        return self._components.close(bound, force=flag("force", force))

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

    def partition_count(self, topic: str) -> int:
        """The number of partitions of `topic`, cached once known.

        The first look-up opens the client and blocks for at most 5 s. A missing topic
        is remembered for 2 s. A number that is 5 minutes old is returned, and asked for
        again in the background.

        Args:
            topic: its name.

        Raises:
            MessageInvalidError: `topic` is not a valid name.
            ProduceError: the topic is unknown, no broker answered, or a fatal error
                stays.

        Example:
            >>> producer.partition_count("orders")
            4
        """
        self._connection.refuse_after_fatal_error()  # also where the count is known
        return partition_count(self._connection, checked_topic(topic))

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        components = getattr(self, "_components", None)
        if components is not None:  # None: the constructor raised
            components.abandon()

    def __repr__(self) -> str:
        buffered = f" buffered={self.buffer_size}" if self.buffer_size else ""
        in_flight = f"in_flight={self.queue_size}"
        return f"<Producer {self.id!r} {self.status} {in_flight}{buffered}>"

    def _parent_monitor(self) -> Monitor | None:
        return None  # a pool's producers have one, which hears their events too

    def _labels(self) -> Labels:
        return Labels(self.config.id, None, tuple(sorted(self.tags.items())))


class _Watch:
    """What a producer's monitor tells of. It does not keep the producer."""

    __slots__ = ("_producer",)

    def __init__(self, producer: Producer) -> None:
        self._producer = weakref.ref(producer)

    def changed(self) -> None:
        """The subscriptions have changed."""
        producer = self._producer()
        if producer is not None:
            components_of(producer).refresh()

    def guard(self, name: str) -> None:
        """Refuse a subscription that comes too late."""
        producer = self._producer()
        if producer is not None:
            components_of(producer).refuse_late_subscription(name)


class Variant(Sender):
    """The verbs of a producer with other settings. Thread-safe.

    It is made by `Producer.variant`, and closed with its producer. With a
    `topic_config` it has its own client, shared with equal variants: a librdkafka
    client keeps the first configuration of each topic, and ignores later ones.
    """

    __slots__ = ("_producer",)

    def __init__(self, producer: Producer, components: Any) -> None:
        self._producer = producer
        self._adopt(components)

    @property
    def producer(self) -> Producer:
        """The producer that it is a variant of."""
        return self._producer

    def __repr__(self) -> str:
        return f"<Variant of {self._producer!r}>"


Variant.answer(
    {
        name: f"a variant only sends; it is variant.producer.{name}"
        for name in {**vars(Described), **vars(Producer)}
        if not name.startswith("_")
    }
)
