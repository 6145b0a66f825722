"""How a producer, and each of its variants, is put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.client.factory import Factory
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.connection.recovery import Recovery, ReloadPolicy
from waterdrop_py._engine.introspection.stats import ProducerStats, read_stats
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.produce.buffer import Buffer
from waterdrop_py._engine.produce.buffer_flush import Flusher
from waterdrop_py._engine.produce.dispatch import Dispatch
from waterdrop_py._engine.produce.verbs import Verbs
from waterdrop_py._engine.transactions.manager import Transactions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterdrop_py._engine.client.learned_brokers import Brokers
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.config import Config
    from waterdrop_py.middleware import Middleware


@dataclass(slots=True, eq=False)
class Components:
    """What a sender is made of. Assembled once; `variants` have parts of their own."""

    config: Config
    emitter: Emitter
    middleware: Middleware
    connection: Connection
    dispatch: Dispatch
    verbs: Verbs
    buffer: Buffer
    flusher: Flusher
    transactions: Transactions | None
    variants: dict[frozenset[tuple[str, str]], Components] = field(default_factory=dict)

    @classmethod
    def assemble(
        cls,
        config: Config,
        emitter: Emitter,
        middleware: Middleware,
        kafka: Mapping[str, Any],
        brokers: Brokers | None = None,
    ) -> Components:
        """Parts around a slot of their own, whose clients get `kafka`.

        `brokers`: what the other clients of the producer have learned.
        """
        factory = Factory(config, emitter, kafka, brokers)
        wait = config.close_before_fork
        connection = Connection(
            RUNTIME,
            factory,
            emitter,
            idle_timeout=config.idle_disconnect_timeout / 1000,
            max_age=config.max_connection_age / 1000,
            close_timeout=config.close_timeout / 1000,
            close_before_fork=None if wait is None else wait / 1000,
        )
        transactions = recovery = None
        if factory.is_transactional:
            recovery = Recovery(connection, emitter, _for_transactions(config))
            transactions = Transactions(config, connection, emitter, recovery)
            connection.reports.transactional = True
            dispatch = Dispatch(config, connection, emitter)
        else:
            if factory.is_idempotent:
                policy = _for_idempotence(config)
                recovery = Recovery(connection, emitter, policy, by_reports=True)
            dispatch = Dispatch(config, connection, emitter, recovery)
        verbs = Verbs(
            dispatch,
            emitter,
            middleware,
            transactions,
            max_payload_size=config.max_payload_size,
            max_wait_timeout=config.max_wait_timeout / 1000,
        )
        buffer = Buffer()
        flusher = Flusher(buffer, verbs, dispatch, connection, emitter, transactions)
        flusher.watch()
        return cls(
            config,
            emitter,
            middleware,
            connection,
            dispatch,
            verbs,
            buffer,
            flusher,
            transactions,
        )

    def stats(self) -> ProducerStats:
        """The figures of these parts, and of each variant's."""
        variants = {
            ",".join(sorted(f"{name}={value}" for name, value in key)): each.stats()
            for key, each in list(self.variants.items())
        }
        return read_stats(self.connection, buffered=len(self.buffer), variants=variants)

    def with_max_wait(self, max_wait_timeout: float) -> Components:
        """The same parts, with another patience (in seconds)."""
        verbs = Verbs(
            self.dispatch,
            self.emitter,
            self.middleware,
            self.transactions,
            max_payload_size=self.config.max_payload_size,
            max_wait_timeout=max_wait_timeout,
        )
        flusher = Flusher(
            self.buffer,
            verbs,
            self.dispatch,
            self.connection,
            self.emitter,
            self.transactions,
        )
        return Components(
            self.config,
            self.emitter,
            self.middleware,
            self.connection,
            self.dispatch,
            verbs,
            self.buffer,
            flusher,
            self.transactions,
        )


def _for_transactions(config: Config) -> ReloadPolicy:
    return ReloadPolicy(
        config.reload_on_transaction_fatal_error,
        config.wait_backoff_on_transaction_fatal_error / 1000,
        config.max_attempts_on_transaction_fatal_error,
        frozenset(config.non_reloadable_errors),
    )


def _for_idempotence(config: Config) -> ReloadPolicy:
    return ReloadPolicy(
        config.reload_on_idempotent_fatal_error,
        config.wait_backoff_on_idempotent_fatal_error / 1000,
        config.max_attempts_on_idempotent_fatal_error,
        frozenset(config.non_reloadable_errors),
    )
