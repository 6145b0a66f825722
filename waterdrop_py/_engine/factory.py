"""The only place that constructs a client, and wires its callbacks."""

from __future__ import annotations

import json
import logging
import os
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException

from waterdrop_py._engine.children import watch_exit
from waterdrop_py._engine.kafka_errors import kafka_error_of
from waterdrop_py._engine.tokens import Tokens
from waterdrop_py._settings.defaults import missing_defaults, own_number
from waterdrop_py._settings.shown import kind
from waterdrop_py._settings.tuning import warn_of_parents_id
from waterdrop_py.errors import ConfigurationInvalidError, ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.life import Life
    from waterdrop_py._engine.reports import ReportDesk
    from waterdrop_py._settings.kafka import Properties
    from waterdrop_py.config import Config
    from waterdrop_py.typing import KafkaClient

_LOGGER: Final = logging.getLogger("waterdrop_py.librdkafka")
# Ours alone: librdkafka would hold back the reports of delivered messages, and
# no handle would ever resolve.
_NOT_PASSED_ON: Final = ("on_delivery", "delivery.report.only.error")

_NOTICEABLE_LINGER_MS: Final = 10
# What every client of a factory is asked for, whatever it is used for.
_NEEDED: Final = ("produce", "poll", "close")


class _Beginning(NamedTuple):
    """What the clients of the same properties have in common, worked out once: it was
    0.07 of the 0.25 ms that come before a client's construction after idleness."""

    listens: bool
    statistics: bool
    missing: Mapping[str, Any]


@lru_cache
def _shared(
    listens: bool, statistics: bool, missing: tuple[tuple[str, Any], ...]
) -> _Beginning:
    """One for all factories whose properties lack the same: they keep it."""
    return _Beginning(listens, statistics, dict(missing))


class Factory:
    """Opens the clients of one producer. Thread-safe.

    The user's own callbacks run beside ours, and what they raise is contained: an
    exception that leaves a native callback would tear whatever poll served it.
    """

    __slots__ = (
        "_beginning",
        "_begun",
        "_config",
        "_emitter",
        "_fake",
        "_process",
        "kafka",
    )

    def __init__(
        self, config: Config, emitter: Emitter, kafka: Mapping[str, Any] | None = None
    ) -> None:
        self._config = config
        self._emitter = emitter
        self._process = os.getpid()  # that it was made in, or has been warned in
        self._beginning: _Beginning | None = None
        self._begun: Properties | None = None  # with these
        self._fake: Callable[[dict[str, Any]], KafkaClient] | None = None
        # Whoever reads a configuration sees a mapping; they are all made of `copied`.
        self.kafka = cast("Properties", config.kafka if kafka is None else kafka)

    @property
    def servers(self) -> str:
        """The bootstrap servers, for messages to people."""
        kafka = self.kafka
        return str(
            kafka.get("bootstrap.servers", kafka.get("metadata.broker.list", ""))
        )

    @property
    def is_transactional(self) -> bool:
        """Whether there is a `transactional.id`."""
        return bool(self.kafka.get("transactional.id"))

    @property
    def is_idempotent(self) -> bool:
        """Whether librdkafka retries without doubling (transactional ones do too)."""
        value = self.kafka.get("enable.idempotence", False)
        return self.is_transactional or str(value).lower() == "true"

    @property
    def lingers(self) -> bool:
        """Whether messages wait for company noticeably (librdkafka's own is 5 ms)."""
        kafka = self.kafka
        linger = kafka.get("linger.ms", kafka.get("queue.buffering.max.ms", 0))
        try:
            return float(linger) > _NOTICEABLE_LINGER_MS
        except (TypeError, ValueError):
            return False

    @property
    def on_delivery(self) -> Callable[[Any, Any], None] | None:
        """The user's own callback for every report."""
        callback: Callable[[Any, Any], None] | None = self.kafka.get("on_delivery")
        return callback

    def open(self, life: Life, reports: ReportDesk) -> None:
        """Construct the client of `life`. Blocks as long as a token provider does, and
        for another second where there is one (confluent-kafka looks once a second).

        Raises:
            ConfigurationInvalidError: the properties contradict each other, or the
                client factory made no client.
            KafkaException: librdkafka could not start, or got no OAuth token.
            ProduceError: the process has as many clients as it can (too_many_clients).

        A forked child with its parent's `transactional.id` is warned, once.
        """
        if self.is_transactional and self._process != (pid := os.getpid()):
            self._process = pid
            warn_of_parents_id(str(self.kafka["transactional.id"]))
        kafka = self.kafka  # once: another thread may replace it
        beginning = self._begin(kafka)
        conf = kafka.over(beginning.missing)
        life.statistics = beginning.statistics
        for name in _NOT_PASSED_ON:
            conf.pop(name, None)
        conf["error_cb"] = self._beside(conf, "error_cb", reports.client_error)
        conf["logger"] = LogBridge(
            self._emitter.producer_id,
            conf.get("logger"),
            partial(self._raised, "logger"),
        )
        if life.statistics or "stats_cb" in conf:
            conf["stats_cb"] = self._beside(conf, "stats_cb", self._statistics)
        if "throttle_cb" in conf:
            conf["throttle_cb"] = self._beside(conf, "throttle_cb", None)
        provider = self._config.oauth_token_provider or conf.get("oauth_cb")
        tokens = None if provider is None else Tokens(provider, self._emitter)
        if tokens is not None:
            conf["oauth_cb"] = tokens
        watch_exit()
        client = self._construct(conf, tokens, reports)
        life.client = client
        _require_protocol(client)
        life.produce = client.produce

    def _begin(self, kafka: Properties) -> _Beginning:
        listens = self._emitter.listens("statistics.emitted")
        known = self._beginning
        if known is None or self._begun is not kafka or known.listens is not listens:
            missing = missing_defaults(kafka, statistics=listens)
            interval = own_number(kafka.over(missing), "statistics.interval.ms")
            known = _shared(listens, bool(interval), tuple(missing.items()))
            self._beginning, self._begun = known, kafka
        return known

    def _construct(
        self, conf: dict[str, Any], tokens: Tokens | None, reports: ReportDesk
    ) -> KafkaClient:
        try:
            if tokens is not None:
                tokens.prepare(conf)
            return self._build(conf)
        except KafkaException as error:
            refused = kafka_error_of(error)
            if refused is not None and refused.code() == KafkaError._INVALID_ARG:
                raise ConfigurationInvalidError({"kafka": refused.str()}) from error
            if refused is not None:
                reports.diagnosis.note(refused)
            raise
        except RuntimeError as error:
            if "thread local storage" not in str(error):
                raise  # somebody's own factory
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

    def _build(self, conf: dict[str, Any]) -> KafkaClient:
        build = self._config.client_factory
        if self._config.deliver:
            return build(conf)
        from waterdrop_py.testing.doubles import FakeClient  # rarely needed

        # Whoever wraps or extends the real client would send.
        double = build if isinstance(build, type) else type(build)
        if issubclass(double, FakeClient):
            return build(conf)
        if self._fake is None:
            self._fake = FakeClient()  # offsets outlive its clients
        return self._fake(conf)

    def _beside(
        self, conf: dict[str, Any], name: str, ours: Callable[[Any], None] | None
    ) -> Callable[[Any], None]:
        theirs = conf.get(name)

        def callback(argument: Any) -> None:
            if ours is not None:
                ours(argument)
            if theirs is not None:
                try:
                    theirs(argument)
                except Exception as error:  # noqa: BLE001 - contained, and told of
                    self._raised(name, error)

        return callback

    def _raised(self, name: str, error: Exception) -> None:
        self._emitter.error(f"callbacks.{name}.error", error)

    def _statistics(self, text: str) -> None:
        if self._emitter.listens("statistics.emitted"):
            self._emitter.emit("statistics.emitted", {"statistics": json.loads(text)})


def _require_protocol(client: object) -> None:
    missing = [name for name in _NEEDED if not callable(getattr(client, name, None))]
    if missing:
        raise ConfigurationInvalidError(
            {
                "client_factory": f"made {kind(client)}, which has no "
                f"{', '.join(missing)}; an object of the protocol typing.KafkaClient "
                "is legal"
            }
        )


class LogBridge:
    """librdkafka's log lines, to `logging` and not to stderr."""

    __slots__ = ("_extra", "_raised", "_theirs")

    def __init__(
        self, producer_id: str, theirs: Any, raised: Callable[[Exception], None]
    ) -> None:
        self._extra = {"producer_id": producer_id}
        self._theirs = theirs
        self._raised = raised

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Take a line; called by confluent-kafka while it polls."""
        _LOGGER.log(level, text, *arguments, extra=self._extra)
        if self._theirs is not None:
            try:
                self._theirs.log(level, text, *arguments)
            except Exception as error:  # noqa: BLE001 - contained, and told of
                self._raised(error)
