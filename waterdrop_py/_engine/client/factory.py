"""The only place that constructs a librdkafka client."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from waterdrop_py._engine.client import foreign
from waterdrop_py._engine.client.by_keyword import by_keyword
from waterdrop_py._engine.client.callbacks import wire
from waterdrop_py._engine.client.fatal import Registration
from waterdrop_py._engine.client.interruption import raise_interruption, raise_left_over
from waterdrop_py._engine.client.kafka_errors import kafka_error_of
from waterdrop_py._engine.client.learned_brokers import Brokers
from waterdrop_py._engine.client.oauth import Tokens
from waterdrop_py._engine.concurrency import background, threads
from waterdrop_py._settings.defaults import missing_defaults
from waterdrop_py._settings.reading import decimal_of, number_of, text_of, truth_of
from waterdrop_py._settings.tuning_warnings import warn_of_parents_id
from waterdrop_py.errors import ConfigurationInvalidError, ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.client.report_sink import ReportSink
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._settings.properties import Properties
    from waterdrop_py.config import Config
    from waterdrop_py.typing import KafkaClient

# Not passed on: librdkafka would hold back the reports of delivered messages, and no
# handle would ever resolve.
_NOT_PASSED_ON: Final = ("on_delivery", "delivery.report.only.error")

_INVALID_ARG: Final = KafkaError._INVALID_ARG  # noqa: SLF001 - its constant
_QUEUE: Final = "queue.buffering.max.messages"
_DEFAULT_QUEUE: Final = 100_000
_NOTICEABLE_LINGER: Final = 0.01


_BEFORE_OPEN: Final[list[Callable[[], None]]] = []


def before_each_open(look: Callable[[], None]) -> None:
    """Call `look` before each client is constructed, in whatever process."""
    _BEFORE_OPEN.append(look)


class _Beginning(NamedTuple):
    """What clients of the same properties share, computed once.

    It took 0.07 of the 0.25 ms that precede a client's construction after idleness.
    """

    listens: bool
    statistics: bool
    missing: Mapping[str, Any]


def _noting_due(client: Client) -> Callable[[float], None]:
    """Notes when its next token is due; weakly, see `callbacks.wire`."""
    noted_by = weakref.ref(client)

    def note(due: float) -> None:
        noting = noted_by()
        if noting is not None:
            noting.token_due = due

    return note


@lru_cache
def _shared(
    listens: bool, statistics: bool, missing: tuple[tuple[str, Any], ...]
) -> _Beginning:
    """The same object for all factories whose properties lack the same."""
    return _Beginning(listens, statistics, dict(missing))


class Factory:
    """Opens the clients of one producer. Thread-safe.

    The user's callbacks run beside the library's, after the native call that called
    back, and what they raise is contained.
    """

    __slots__ = (
        "_beginning",
        "_begun",
        "_config",
        "_emitter",
        "_fake",
        "_process",
        "brokers",
        "kafka",
    )

    def __init__(
        self,
        config: Config,
        emitter: Emitter,
        kafka: Mapping[str, Any] | None = None,
        brokers: Brokers | None = None,
    ) -> None:
        self.brokers = Brokers() if brokers is None else brokers
        self._config = config
        self._emitter = emitter
        self._process = os.getpid()  # in which it was made, or has warned
        self._beginning: _Beginning | None = None
        self._begun: Properties | None = None  # with these
        self._fake: Callable[[dict[str, Any]], KafkaClient] | None = None
        # A mapping for readers of the configuration; each was made by `copied`.
        self.kafka = cast("Properties", config.kafka if kafka is None else kafka)

    def change(self, kafka: Properties) -> Properties:
        """Open clients with `kafka` from now on. Returns the properties until now."""
        before, self.kafka = self.kafka, kafka
        return before

    @property
    def servers(self) -> str:
        """The bootstrap servers, to be shown."""
        return text_of(self.kafka, "bootstrap.servers") or ""

    @property
    def is_transactional(self) -> bool:
        """Whether there is a `transactional.id`."""
        return text_of(self.kafka, "transactional.id") is not None

    @property
    def is_idempotent(self) -> bool:
        """Whether librdkafka retries without duplicates; transactional ones do too."""
        return self.is_transactional or truth_of(self.kafka, "enable.idempotence")

    @property
    def lingers(self) -> bool:
        """Whether messages wait long for a batch (librdkafka's default is 5 ms)."""
        return self.linger > _NOTICEABLE_LINGER

    @property
    def linger(self) -> float:
        """Seconds that messages wait for a batch; 0 unless the user set `linger.ms`."""
        return (decimal_of(self.kafka, "linger.ms") or 0) / 1000

    @property
    def on_delivery(self) -> Callable[[Any, Any], None] | None:
        """The user's callback for every report."""
        callback: Callable[[Any, Any], None] | None = self.kafka.get("on_delivery")
        return callback

    def open(self, client: Client, reports: ReportSink[Client]) -> None:
        """Construct the native client. Blocks as long as a token provider does, and
        one second more, because confluent-kafka looks for the token once a second. A
        greenlet yields meanwhile.

        A forked child with its parent's `transactional.id` is warned, once.

        Raises:
            ConfigurationInvalidError: the properties contradict each other, or what
                the client factory made is not a client, or lacks part of the protocol.
            KafkaException: librdkafka could not start, or got no OAuth token.
            ProduceError: the process has as many clients as it can (too_many_clients).
        """
        kafka = self.kafka  # once: another thread may replace it
        transactional_id = text_of(kafka, "transactional.id")
        if transactional_id and self._process != (pid := os.getpid()):
            self._process = pid
            warn_of_parents_id(transactional_id)
        beginning = self._begin(kafka)
        conf = kafka.over(beginning.missing)
        self.brokers.add_to(conf)
        if transactional_id:
            timeout_ms = number_of(conf, "transaction.timeout.ms") or 0
            client.transaction.registration = Registration(transactional_id, timeout_ms)
        client.statistics = beginning.statistics
        for name in _NOT_PASSED_ON:
            conf.pop(name, None)
        client.answers_before = reports.diagnosis.answers
        wire(conf, client, reports)
        provider = self._config.oauth_token_provider or conf.get("oauth_cb")
        tokens = (
            None
            if provider is None
            else Tokens(provider, self._emitter, client.arrived, _noting_due(client))
        )
        if tokens is not None:
            conf["oauth_cb"] = tokens
        for look in _BEFORE_OPEN:
            look()
        try:
            native = self._construct(conf, tokens, reports)
            self._take(native, kafka, conf, client, reports)
        finally:
            client.settle_here()

    def _take(
        self,
        native: KafkaClient,
        kafka: Properties,
        conf: dict[str, Any],
        client: Client,
        reports: ReportSink[Client],
    ) -> None:
        """Give `client` its native client, and choose how it is handed messages."""
        is_foreign = foreign.is_foreign(native)
        reports.take_client(kafka, self.linger, foreign=is_foreign)
        client.native = self._whole(native)
        if is_foreign:
            limit = number_of(conf, _QUEUE)
            room = _DEFAULT_QUEUE if limit is None else limit
            client.produce = by_keyword(client, room)
        else:
            client.produce = client.native.produce

    def _whole(self, client: KafkaClient) -> KafkaClient:
        try:
            return foreign.whole(client, transactional=self.is_transactional)
        except ConfigurationInvalidError:
            # It is new and has nothing to deliver. What its close raises would hide
            # what is wrong.
            close = getattr(client, "close", None)
            if callable(close):
                with suppress(Exception):
                    close()
            raise

    def _begin(self, kafka: Properties) -> _Beginning:
        listens = self._emitter.asks_for("statistics.emitted")
        known = self._beginning
        if known is None or self._begun is not kafka or known.listens is not listens:
            missing = missing_defaults(kafka, statistics=listens)
            interval = number_of(kafka.over(missing), "statistics.interval.ms")
            known = _shared(listens, bool(interval), (*missing.items(),))
            self._beginning, self._begun = known, kafka
        return known

    def _construct(
        self, conf: dict[str, Any], tokens: Tokens | None, reports: ReportSink[Client]
    ) -> KafkaClient:
        try:
            if tokens is not None:
                tokens.prepare(conf)
                client = background.call(lambda: self._build(conf))
            else:
                client = self._build_undisturbed(conf)
            raise_left_over()
        except KafkaException as error:
            refused = kafka_error_of(error)
            if refused is not None and refused.code() == _INVALID_ARG:
                raise ConfigurationInvalidError({"kafka": refused.str()}) from error
            if refused is not None:
                reports.diagnosis.note(refused)
            raise
        except (TypeError, SystemError) as error:
            raise_interruption(error)
            raise
        except RuntimeError as error:
            if "thread local storage" not in str(error):
                raise  # of a user's factory
            raise ProduceError(
                "this process has no room for another librdkafka client: each takes a "
                "key for thread-specific data, of which there are 1024; nothing was "
                "sent (too_many_clients)",
                code="too_many_clients",
                retriable=True,
                checklist=(
                    "about 1000 clients fit at once (1012 on Linux); idle ones take no "
                    "room: is idle_disconnect_timeout set, and short enough?",
                    "disconnect() those that are not needed now",
                ),
            ) from error
        return client

    def _build_undisturbed(self, conf: dict[str, Any]) -> KafkaClient:
        """Construct a client; signals wait while confluent-kafka does, for 1 ms.

        A signal handler that raises inside of the native constructor leaves its
        exception pending there. From Python 3.12 on, a garbage collection that comes
        next drops it (test_no_signal_handler_runs_inside_the_native_constructor).
        """
        if self._config.client_factory is not None:
            return self._build(conf)
        made: list[KafkaClient] = []
        threads.blocking_signals(lambda: made.append(self._build(conf)))
        return made[0]

    def _build(self, conf: dict[str, Any]) -> KafkaClient:
        build = self._config.client_factory
        if build is None:
            # Looked up at each open: a tracer may replace it at any time.
            build = confluent_kafka.Producer
        if self._config.deliver:
            return build(conf)
        from waterdrop_py._engine.client.fake import FakeClient  # rarely needed

        # A wrapper or a subclass of the real client would send.
        double = build if isinstance(build, type) else type(build)
        if issubclass(double, FakeClient):
            return build(conf)
        if self._fake is None:
            self._fake = FakeClient()  # offsets outlive its clients
        return self._fake(conf)
