"""Replacing a client after a fatal error, as often as the policy allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection.disconnecting import discard
from waterdrop_py._settings.librdkafka import SERVERS
from waterdrop_py._settings.properties import EditableProperties, copied
from waterdrop_py._settings.reading import value_of
from waterdrop_py.errors import ConfigurationInvalidError

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py.config import Config
    from waterdrop_py.errors import ProduceError

_TICK = 0.01
_WHERE = (SERVERS, "security.protocol")


class ReloadPolicy(NamedTuple):
    """When a client is replaced, and how often.

    Attributes:
        enabled: whether a fatal error replaces the client at all.
        backoff: seconds to wait after each replacement.
        most: attempts until the error stays.
        never: codes of errors that stay at once.
    """

    enabled: bool
    backoff: float
    most: int
    never: frozenset[str]

    @classmethod
    def for_transactions(cls, config: Config) -> ReloadPolicy:
        """The policy of a producer with a `transactional.id`."""
        return cls(
            config.reload_on_transaction_fatal_error,
            config.wait_backoff_on_transaction_fatal_error / 1000,
            config.max_attempts_on_transaction_fatal_error,
            frozenset(config.non_reloadable_errors),
        )

    @classmethod
    def for_idempotence(cls, config: Config) -> ReloadPolicy:
        """The policy of another idempotent producer."""
        return cls(
            config.reload_on_idempotent_fatal_error,
            config.wait_backoff_on_idempotent_fatal_error / 1000,
            config.max_attempts_on_idempotent_fatal_error,
            frozenset(config.non_reloadable_errors),
        )


class Recovery:
    """Replaces clients, each once. Thread-safe.

    Of the threads that meet the same fatal error, the one that takes `_lock` replaces
    the client. The others wait, and use the next client.
    """

    __slots__ = (
        "_attempts",
        "_by_reports",
        "_connection",
        "_emitter",
        "_lock",
        "_policy",
        "_replaced",
    )

    def __init__(
        self,
        connection: Connection,
        emitter: Emitter,
        policy: ReloadPolicy,
        *,
        by_reports: bool = False,
    ) -> None:
        """`by_reports`: attempts are counted anew once a client has delivered a
        message."""
        self._connection = connection
        self._emitter = emitter
        self._policy = policy
        self._by_reports = by_reports
        self._replaced: Client | None = None
        self._attempts = 0
        self._lock = OwnedLock()
        connection.hooks.decide_final_by(self.is_final)
        connection.hooks.add(self)

    def refusal(self) -> None:
        """It stands against no close."""

    def reset(self) -> None:
        """Be as if just made: this is a forked child."""
        self._attempts = 0
        self._lock = OwnedLock()

    def succeeded(self) -> None:
        """A replacement has helped: count the attempts anew."""
        self._attempts = 0

    def is_final(self, client: Client, code: str) -> bool:
        """Whether `client` is not replaced after the error with this code.

        The client of the last attempt is, while that is made
        (test_the_last_attempt_is_not_taken_for_the_end).
        """
        if client is self._replaced:
            return False
        policy = self._policy
        if self._by_reports and client.acknowledged:
            self._attempts = 0
        return (
            not policy.enabled or code in policy.never or self._attempts >= policy.most
        )

    def reload(self, client: Client, error: ProduceError, kind: str | None) -> bool:
        """Replace `client`; False when the error stays, and every verb raises it.

        Blocks for the backoff. `kind` is the type of the `error.occurred` to emit, or
        None. Also False inside a callback of the client, or inside this very reload.
        """
        connection = self._connection
        while connection.current_client is client:
            hold = Hold()
            try:
                if self._lock.take(hold):
                    gone = connection.current_client is not client
                    return gone or self._replace(client, error, kind)
                if self._lock.held_here or client.served_here:
                    return False
            finally:
                self._lock.release(hold)
            sleep(_TICK)
        return True

    def _replace(self, client: Client, error: ProduceError, kind: str | None) -> bool:
        if self.is_final(client, error.code):
            self._connection.keep_fatal_error(client)
            return False
        if client.served_here:
            return False
        started = clock.system_now()
        self._replaced = client
        self._attempts += 1
        attempt = self._attempts
        if kind is not None:
            self._emitter.error(kind, error, attempt=attempt)
        self._ask_for_properties(attempt, error)
        discard(self._connection, client)
        sleep(self._policy.backoff)
        self._emitter.emit(
            "producer.reloaded",
            {"attempt": attempt},
            duration_ms=(clock.system_now() - started) * 1000,
        )
        return True

    def _ask_for_properties(self, attempt: int, error: ProduceError) -> None:
        if not self._emitter.listens("producer.reload"):
            return
        factory = self._connection.factory
        editable = EditableProperties(factory.kafka)
        self._emitter.emit(
            "producer.reload", {"attempt": attempt, "error": error, "kafka": editable}
        )
        from waterdrop_py._settings.librdkafka_check import check_properties

        properties, errors = copied(editable)
        errors = errors or check_properties(properties)
        if errors:
            self._emitter.error("librdkafka.error", ConfigurationInvalidError(errors))
            return
        before = factory.change(properties)
        if any(value_of(before, each) != value_of(properties, each) for each in _WHERE):
            factory.brokers.forget()  # they may be of another cluster or listener
