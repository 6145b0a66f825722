"""How a producer and its variants are assembled: the only place that knows all parts.

`assemble` makes the parts of a producer, `Components.variant` those of a variant.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.client.factory import Factory
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.connection.disconnecting import (
    disconnect_here,
    disconnect_on_worker,
)
from waterdrop_py._engine.connection.family import Relatives
from waterdrop_py._engine.connection.idle_policy import IdlePolicy
from waterdrop_py._engine.connection.recovery import Recovery, ReloadPolicy
from waterdrop_py._engine.connection.resending import Resending
from waterdrop_py._engine.introspection.accounts import ACCOUNTS, NO_LABELS, Labels
from waterdrop_py._engine.introspection.stats import ProducerStats, read_stats
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.produce.buffer import Buffer
from waterdrop_py._engine.produce.buffer_flush import Flusher
from waterdrop_py._engine.produce.dispatch import Dispatch
from waterdrop_py._engine.produce.send_queue import SendQueue
from waterdrop_py._engine.produce.verbs import Verbs
from waterdrop_py._engine.reports import flush
from waterdrop_py._engine.shutdown import close
from waterdrop_py._engine.shutdown.with_variants import Closing
from waterdrop_py._engine.transactions.manager import Transactions
from waterdrop_py._engine.transactions.marking import mark_as_consumed
from waterdrop_py._settings.durations import milliseconds
from waterdrop_py._settings.properties import Properties, copied
from waterdrop_py._settings.reading import merged
from waterdrop_py._settings.rejected import RefusedError
from waterdrop_py._settings.topic_config import topic_config_errors
from waterdrop_py.errors import (
    ProducerNotTransactionalError,
    StatisticsNotEnabledError,
    TransactionalCloseError,
    VariantInvalidError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterdrop_py._engine.client.learned_brokers import Brokers
    from waterdrop_py._engine.connection.hooks import Family
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.reports.accounting import DrainReport
    from waterdrop_py._engine.transactions.block import Block
    from waterdrop_py.config import Config
    from waterdrop_py.middleware import Middleware


@dataclass(slots=True, eq=False)
class Components:
    """The parts of a producer, or of one of its variants.

    A variant with a `topic_config` has its own parts, which its producer keeps in
    `variants`. One with only another `max_wait_timeout` shares all parts but the verbs.

    Attributes:
        max_wait_timeout: seconds that a verb waits for a report.
        variants: the parts of each variant that has its own client.
        labels: what their figures are told apart by.
    """

    config: Config
    emitter: Emitter
    middleware: Middleware
    connection: Connection
    dispatch: Dispatch
    buffer: Buffer
    transactions: Transactions | None
    max_wait_timeout: float
    verbs: Verbs = field(init=False)
    flusher: Flusher = field(init=False)
    variants: dict[frozenset[tuple[str, str]], Components] = field(default_factory=dict)
    labels: Labels = NO_LABELS

    def __post_init__(self) -> None:
        self.verbs = Verbs(
            self.dispatch,
            self.emitter,
            self.middleware,
            self.transactions,
            max_payload_size=self.config.max_payload_size,
            max_wait_timeout=self.max_wait_timeout,
        )
        self.flusher = Flusher(
            self.buffer,
            self.verbs,
            self.dispatch,
            self.connection,
            self.emitter,
            self.transactions,
        )

    @property
    def with_variants(self) -> list[Components]:
        """These parts, and those of each variant."""
        return [self, *self.variants.values()]

    def variant(
        self, topic_config: Mapping[str, Any] | None, max_wait_timeout: object
    ) -> Components:
        """The parts of a variant, shared by all that have the same `topic_config`.

        Raises:
            VariantInvalidError: with every violation.
        """
        errors: dict[str, str] = {}
        wait_ms = self.config.max_wait_timeout
        if max_wait_timeout is not None:
            try:
                wait_ms = milliseconds(max_wait_timeout)
            except RefusedError as refused:
                errors["max_wait_timeout"] = str(refused)
        if topic_config is not None:
            factory = self.connection.factory
            errors |= topic_config_errors(
                topic_config,
                factory.kafka,
                is_transactional=factory.is_transactional,
                is_idempotent=factory.is_idempotent,
            )
        if errors:
            raise VariantInvalidError(errors)
        base = self._with_topic_config(topic_config) if topic_config else self
        if wait_ms == self.config.max_wait_timeout:
            return base
        return replace(base, max_wait_timeout=wait_ms / 1000, variants={})

    def _with_topic_config(self, topic_config: Mapping[str, Any]) -> Components:
        """The parts of the variant with this `topic_config`, made once."""
        topic_config = copied(topic_config)[0]
        key = frozenset((name, str(value)) for name, value in topic_config.items())
        known = self.variants.get(key)
        if known is not None:
            return known
        factory = self.connection.factory
        kafka = Properties(merged(factory.kafka, topic_config))
        made = assemble(
            self.config, self.emitter, self.middleware, kafka, factory.brokers
        )
        kept = self.variants.setdefault(key, made)
        if kept is made:
            made.open_account(self.labels, self.connection.hooks.family)
        return kept

    def send_queue(self) -> SendQueue:
        """The queue of what tasks of asyncio send, made once."""
        return self.connection.hooks.queueing(lambda: SendQueue(self.dispatch))

    def transaction_block(self) -> Block:
        """A `with` block; see `Sender.transaction`."""
        return self.needed_transactions().block()

    def needed_transactions(self) -> Transactions:
        """The transactions; raises where the producer has none."""
        if self.transactions is None:
            raise ProducerNotTransactionalError(
                "transactions need a transactional.id in the producer's kafka settings"
            )
        return self.transactions

    def in_transaction(self) -> bool:
        """Whether the calling context is inside a transaction of the producer."""
        return self.transactions is not None and self.transactions.current() is not None

    def mark_as_consumed(
        self, consumer: Any, messages: Any, metadata: str | None
    ) -> None:
        """Collect positions for the running transaction; see the verb of `Sender`."""
        running = None if self.transactions is None else self.transactions.current()
        mark_as_consumed(running, self.emitter, consumer, messages, metadata)

    def flush(self, bound: float | None) -> int:
        """Send the buffer, and wait for all outcomes; see `Sender.flush`."""
        deadline = None if bound is None else clock.system_now() + bound
        if self.buffer:
            self.flusher.flush_before(deadline)
        self.connection.refuse_closed()
        queue = self.connection.hooks.queue
        if queue is not None:
            queue.wait_handed_over(inf if deadline is None else deadline)
        left = None if deadline is None else max(0.0, deadline - clock.system_now())
        client, lingers = self.connection.client, self.connection.factory.lingers
        in_flight = flush.flush(client, left, lingers=lingers)
        return in_flight if queue is None else in_flight + queue.left_alone

    def open_account(self, labels: Labels, family: Family | None = None) -> None:
        """Have the figures count in those of the process, until `abandon`.

        `family`: the producer's, if this is a variant.
        """
        self.labels, self.emitter.given_id = labels, labels.name
        self.connection.hooks.close_with(family or Relatives(self))
        ACCOUNTS.add(self, labels, is_variant=family is not None)

    def connections(self) -> list[Connection]:
        """That of these parts, and of each variant."""
        return [each.connection for each in self.with_variants]

    def own_stats(self) -> ProducerStats:
        """The counters of these parts alone; none is less than it was."""
        return read_stats(self.connection, buffered=len(self.buffer), rising=True)

    def stats(self) -> ProducerStats:
        """The counters of these parts, and of each variant."""
        variants = {
            ",".join(sorted(f"{name}={value}" for name, value in key)): each.stats()
            for key, each in dict(self.variants).items()
        }
        return read_stats(self.connection, buffered=len(self.buffer), variants=variants)

    def refresh(self) -> None:
        """Have each client look again at which events have subscribers."""
        for each in self.with_variants:
            each.connection.refresh()

    def refuse_late_subscription(self, name: str) -> None:
        """Raise where the open client was built without what the event `name` needs."""
        client = self.connection.current_client
        if client is None or client.statistics:
            return
        if name == "statistics.emitted":
            raise StatisticsNotEnabledError(
                "the open client was built before statistics.emitted had a "
                "subscriber, and emits none; subscribe before the first send, "
                "subscribe a listener object, or disconnect() first"
            )

    def disconnect(self) -> bool:
        """Close the client if that is safe now; see `Producer.disconnect`."""
        return disconnect_on_worker(self.connection, self.config.close_timeout / 1000)

    def disconnect_here(self) -> bool:
        """`disconnect` on the calling thread, which is a worker's."""
        return disconnect_here(self.connection, self.config.close_timeout / 1000)

    def close(self, bound: float | None, *, force: bool) -> DrainReport:
        """Close all clients for good, within `bound` seconds; see `Producer.close`."""
        self.refuse_close_inside_transaction()
        deadline = clock.system_now() + self.close_bound(bound)
        return self.start_close(deadline, force=force).wait()

    def refuse_close_inside_transaction(self) -> None:
        """Raise where the calling context is inside a transaction of the producer."""
        check()
        if self.in_transaction():
            raise TransactionalCloseError(
                "close() inside a transaction block; leave the block first"
            )

    def close_bound(self, bound: float | None) -> float:
        """The bound of a close in seconds; None: `close_timeout`."""
        return self.config.close_timeout / 1000 if bound is None else bound

    def start_close(self, deadline: float, *, force: bool) -> Closing:
        """Begin to close all clients for good, until `deadline`. Does not wait."""

        def start_others() -> list[close.Shutdown]:
            return [start(each.connection) for each in list(self.variants.values())]

        def start(connection: Connection) -> close.Shutdown:
            connection.hooks.reopen_with(None)  # closed for good
            # The producer refuses first, so that no variant can be made from then on.
            then = begin_others if connection is self.connection else None
            return close.start(connection, deadline, force=force, then=then)

        def begin_others() -> None:
            for each in start_others():
                each.run_later()

        first = start(self.connection)
        return Closing(
            first, start_others, self.connection.runtime, deadline, force=force
        )

    def abandon(self) -> None:
        """Close a producer that was dropped, once its messages are delivered.

        After the exit handler, modules may be empty already. Only attributes are read
        then (test_a_producer_in_a_module_that_was_imported_earlier).
        """
        if not self.connection.runtime.ended:
            for each in self.with_variants:
                close.abandon(each.connection, partial(ACCOUNTS.end, each))


def assemble(
    config: Config,
    emitter: Emitter,
    middleware: Middleware,
    kafka: Mapping[str, Any],
    brokers: Brokers | None = None,
) -> Components:
    """Parts around a new connection, whose clients get the properties `kafka`.

    `brokers`: what the other clients of the producer have learned.
    """
    factory = Factory(config, emitter, kafka, brokers)
    wait = config.close_before_fork
    connection = Connection(
        RUNTIME,
        factory,
        emitter,
        policy=IdlePolicy(
            config.idle_disconnect_timeout / 1000, config.max_connection_age / 1000
        ),
        close_timeout=config.close_timeout / 1000,
        close_before_fork=None if wait is None else wait / 1000,
        resending=Resending,
    )
    transactions = recovery = None
    if factory.is_transactional:
        transactions = _transactions(config, connection, emitter)
    elif factory.is_idempotent:
        recovery = Recovery(
            connection, emitter, ReloadPolicy.for_idempotence(config), by_reports=True
        )
    components = Components(
        config,
        emitter,
        middleware,
        connection,
        Dispatch(config, connection, recovery),
        Buffer(),
        transactions,
        config.max_wait_timeout / 1000,
    )
    components.flusher.register_hooks()
    return components


def _transactions(
    config: Config, connection: Connection, emitter: Emitter
) -> Transactions:
    recovery = Recovery(connection, emitter, ReloadPolicy.for_transactions(config))
    transactions = Transactions(config, connection, emitter, recovery)
    connection.reports.for_transactions()
    return transactions
