"""Defines `Config`: a new option is a line in its class, with default and bounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, final

from waterdrop_py._settings.answering import Answering
from waterdrop_py._settings.foreign_names import CONFIG
from waterdrop_py._settings.option_types import (
    REQUIRED,
    Count,
    Duration,
    ErrorNames,
    Flag,
    KafkaProperties,
    Labels,
    Option,
    OptionalCount,
    OptionalDuration,
    OptionalText,
    Steps,
    connection_duration,
    count,
    duration,
    error_names,
    flag,
    labels,
    optional_count,
    optional_duration,
    optional_function,
    optional_text,
    positional,
    properties,
    steps,
)
from waterdrop_py._settings.plain import plain, unwrapped
from waterdrop_py._settings.properties import copied
from waterdrop_py._settings.redact import kind
from waterdrop_py._settings.table import OptionTable
from waterdrop_py._settings.text_sources import Reading, override
from waterdrop_py._settings.tuning_warnings import warn_about
from waterdrop_py.errors import ConfigurationInvalidError
from waterdrop_py.typing import ClientFactory

TokenProvider: TypeAlias = Callable[[str], tuple[Any, ...]]
_OptionalProvider: TypeAlias = Option[TokenProvider | None, TokenProvider | None]
_OptionalFactory: TypeAlias = Option[ClientFactory | None, ClientFactory | None]


@final
class Config(OptionTable, metaclass=Answering, answers=CONFIG):
    """The settings of a producer: its options, and librdkafka's properties.

    Takes keyword options, or a mapping of them. Keyword options replace those of the
    mapping; `kafka` is merged over the mapping's, property by property.

    >>> kafka = {"bootstrap.servers": "localhost:9092"}
    >>> Config(kafka=kafka, idle_disconnect_timeout="5m").idle_disconnect_timeout
    300000

    A duration is int milliseconds, a `timedelta`, or text with a unit (`"5m"`, `"30s"`,
    `"60000ms"`). Attributes are int milliseconds.

    The mapping is copied. A `Config` is immutable, so threads and producers may share
    it. Constructing one opens nothing and never blocks.

    Raises `ConfigurationInvalidError`, whose `errors` name every violation. Issues a
    `TuningWarning` for settings that are legal but will surprise. librdkafka's verdict
    on the properties comes when a producer is made.

    Two are equal if the same takes effect: options after units, and properties as
    librdkafka reads them. `5` is `"5"`, `True` is `"true"`, an alias is its property,
    None is not given, and brokers have no order. What is given as the library's default
    equals what is not given. librdkafka's defaults may change with its version: of
    them, only `security.protocol` `plaintext` and `sasl.mechanism` `GSSAPI` equal none.
    Callables are compared by identity. The hash differs with all of that, and from
    process to process. Neither the hash nor the repr reveals a secret.

    Attributes:
        kafka: the user's librdkafka properties; read-only, and its repr hides secrets.
        id: names the producer in events and logs. None: each producer makes its own.
        idle_disconnect_timeout: ms without activity after which the client is closed.
            0 is never, else at least 30 000.
        max_connection_age: ms after which the client is replaced at the next safe
            moment. 0 is never, else at least 30 000.
        max_payload_size: bytes. None leaves the limit to librdkafka's
            `message.max.bytes`.
        close_before_fork: ms. A client that is safe to close and has been idle for as
            long is closed before `os.fork()`. None is never.
        max_wait_timeout: ms that a sync call waits for the delivery report.
        wait_on_queue_full: whether a send waits while librdkafka's queue is full.
        wait_backoff_on_queue_full: ms between the attempts of such a send.
        wait_timeout_on_queue_full: ms after which such a send gives up.
        instrument_on_wait_queue_full: whether such a wait is an event.
        close_timeout: ms that `close()` and the interpreter's exit wait at most.
        oauth_token_provider: a callable with the contract of confluent-kafka's
            `oauth_cb`, for every client that is opened.
        wait_backoff_on_transaction_command: ms before a failed command of a transaction
            is retried, multiplied by the number of attempts.
        max_attempts_on_transaction_command: attempts for each command, the first
            included.
        reload_on_transaction_fatal_error: whether a fatal error in a transaction
            replaces the client.
        wait_backoff_on_transaction_fatal_error: ms before that.
        max_attempts_on_transaction_fatal_error: replacements without a commit in
            between.
        wait_timeout_on_transaction_abort: ms that an abort waits for messages in
            flight.
        reload_on_idempotent_fatal_error: whether a fatal error of an idempotent
            producer replaces the client.
        wait_backoff_on_idempotent_fatal_error: ms before that.
        max_attempts_on_idempotent_fatal_error: replacements without a report in
            between.
        non_reloadable_errors: lower-case names of fatal errors that never replace the
            client.
        deliver: False validates and instruments messages, but sends nothing.
        middleware: callables from a `Message` to a `Message`, called before validation.
        tags: a mapping of str to str that every event carries.
        client_factory: makes the client from a dict of properties, at each open. None:
            `confluent_kafka.Producer`, looked up at each open.
    """

    if TYPE_CHECKING:
        _source: Config | Mapping[str, Any] | None = positional(
            default=None, kw_only=False
        )
    kafka: KafkaProperties = properties(default=REQUIRED)
    id: OptionalText = optional_text(None)
    idle_disconnect_timeout: Duration = connection_duration(0)
    max_connection_age: Duration = connection_duration(0)
    max_payload_size: OptionalCount = optional_count(None, minimum=1, unit="bytes")
    close_before_fork: OptionalDuration = optional_duration(1_000)
    max_wait_timeout: Duration = duration(180_000)
    wait_on_queue_full: Flag = flag(True)
    wait_backoff_on_queue_full: Duration = duration(100)
    wait_timeout_on_queue_full: Duration = duration(10_000)
    instrument_on_wait_queue_full: Flag = flag(True)
    close_timeout: Duration = duration(30_000)
    oauth_token_provider: _OptionalProvider = optional_function(contract="f(config)")
    wait_backoff_on_transaction_command: Duration = duration(500)
    max_attempts_on_transaction_command: Count = count(5, minimum=1, unit="attempts")
    reload_on_transaction_fatal_error: Flag = flag(True)
    wait_backoff_on_transaction_fatal_error: Duration = duration(1_000)
    max_attempts_on_transaction_fatal_error: Count = count(
        10, minimum=1, unit="attempts"
    )
    wait_timeout_on_transaction_abort: Duration = duration(0)
    reload_on_idempotent_fatal_error: Flag = flag(False)
    wait_backoff_on_idempotent_fatal_error: Duration = duration(5_000)
    max_attempts_on_idempotent_fatal_error: Count = count(5, minimum=1, unit="attempts")
    non_reloadable_errors: ErrorNames = error_names(("fenced",))
    deliver: Flag = flag(True)
    middleware: Steps = steps()
    tags: Labels = labels()
    client_factory: _OptionalFactory = optional_function(contract="f(dict)")

    def _built(self) -> None:
        warn_about(
            self.kafka,
            idle=self.idle_disconnect_timeout,
            wait=self.max_wait_timeout,
        )

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *vars(self)})

    def replace(self, /, **options: Any) -> Config:
        """Make a copy with these options changed; `kafka` is replaced as a whole.

        Never blocks. Thread-safe. Raises `ConfigurationInvalidError`.

        >>> config.replace(max_wait_timeout="10s").max_wait_timeout
        10000
        """
        return Config(**{**vars(self), **options})

    __replace__ = replace  # for copy.replace

    def as_url(self) -> str:
        """Write the URL that `from_url` takes, with `***` for each secret.

        Without secrets and callables, reading it gives an equal configuration. Options
        that have their default are left out, and so are callables: middleware,
        `oauth_token_provider`, `client_factory`, and callbacks among the properties.
        Properties that librdkafka does not know are `***`, too.

        Never blocks. Thread-safe.
        """
        from waterdrop_py._settings.url_text import write_url

        return write_url(vars(self), self.OPTIONS)

    @classmethod
    def from_url(cls, /, url: str, **options: Any) -> Config:
        """Build a configuration from a URL and keyword options.

        >>> url = "kafka+sasl_ssl://user:p%40ss@h1:9093,h2/?idle_disconnect_timeout=5m"
        >>> Config.from_url(url).kafka["sasl.username"]
        'user'

        Schemes are `kafka`, `kafka+ssl`, `kafka+sasl_plaintext` and `kafka+sasl_ssl`.
        Each part is percent-decoded. A host may be an IPv6 address in brackets, and its
        port defaults to 9092. `kafka:///` names no host, for clients that connect to
        nothing. `sasl.mechanism` defaults to `PLAIN` if there is a user name.

        A query key that names an option is that option: `true` or `false`, a duration
        with a unit, `none`, `tags.<name>=<value>` (double quotes keep blanks around a
        tag). Any other key is a librdkafka property. Keyword options win; `kafka` is
        merged, property by property.

        Never blocks. Thread-safe. Raises `ConfigurationInvalidError`, also if the URL
        sets something twice.
        """
        return cls._from_reading(*_of_url(url, options))

    @classmethod
    def from_env(
        cls,
        prefix: str = "WATERDROP_",
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Config:
        """Build a configuration from environment variables and keyword options.

        `<prefix>URL` is read as by `from_url`. `<prefix><OPTION>` is an option; tags
        are written as `name=value,name=value`. `<prefix>KAFKA_<PROPERTY>` is a
        librdkafka property, with underscores for its dots. `environ` defaults to
        `os.environ`.

        Keyword options win; `kafka` is merged, property by property. Variables that
        Kubernetes sets for a Service are ignored.

        Never blocks. Thread-safe. Raises `ConfigurationInvalidError`, which names the
        variable, also for an unknown name under the prefix and an option set twice.

        >>> variables = {"WATERDROP_URL": "kafka://h:9092", "WATERDROP_ID": "orders"}
        >>> Config.from_env(environ=variables).id
        'orders'
        """
        from waterdrop_py._settings.env import named, read_config

        source = os.environ if environ is None else environ
        reading, origins = read_config(prefix, source, cls.OPTIONS, options)
        try:
            return cls._from_reading(*reading)
        except ConfigurationInvalidError as error:
            sentences = named(error.errors, origins)
        raise ConfigurationInvalidError(sentences)

    @classmethod
    def of(cls, source: object, options: Mapping[str, Any]) -> Config:
        """Build the configuration from the arguments of a producer.

        `source` is a `Config`, a mapping of options, a URL, or None. `options` win.
        Reads certificate and key files, and blocks no longer than that. Thread-safe.
        Raises `ConfigurationInvalidError`, which includes librdkafka's verdict on the
        properties.
        """
        errors: dict[str, str] = {}
        try:
            config = cls._of(source, options)
        except ConfigurationInvalidError as error:
            errors = error.errors
        else:
            # Imported here: the import of the package needs none of the checks.
            from waterdrop_py._settings.producer_check import producer_errors

            errors = producer_errors(
                config.kafka,
                cls.OPTIONS,
                factory=config.client_factory,
                deliver=config.deliver,
            )
            if not errors:
                return config
        if errors.keys() & {"config", "url"}:
            raise ConfigurationInvalidError(errors)
        raise ConfigurationInvalidError({**cls._verdict(source, options), **errors})

    @classmethod
    def _verdict(cls, source: object, options: Mapping[str, Any]) -> dict[str, str]:
        """The errors of the properties, also if other options are wrong."""
        from waterdrop_py._settings.librdkafka_check import check_properties

        try:
            kafka = _values_of(source, options)[0].get("kafka")
        except ConfigurationInvalidError:
            return {}
        return check_properties(copied(kafka)[0], cls.OPTIONS)

    @classmethod
    def _of(cls, source: object, options: Mapping[str, Any]) -> Config:
        if isinstance(source, Config) and not options:
            return source
        return cls._from_reading(*_values_of(source, options))

    @classmethod
    def _options_of(cls, source: object, options: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(source, Config | Mapping):
            raise _not_a_source(f"must be a mapping of options, got {kind(source)}")
        values, errors = _values_of(source, options)
        if errors:
            raise ConfigurationInvalidError(errors)
        return values

    @classmethod
    def _from_reading(cls, values: dict[str, Any], errors: dict[str, str]) -> Config:
        if not errors:
            return cls(**values)
        others = cls.checked(values)[1]
        if "url" in errors:
            others.pop("kafka", None)
        raise ConfigurationInvalidError({**others, **errors})


def _values_of(source: object, options: Mapping[str, Any]) -> Reading:
    """Merge the options of a source with keyword options; return what is wrong too."""
    source = plain(unwrapped(source))
    if isinstance(source, str):
        return _of_url(source, options)
    if source is None:
        return dict(options), {}
    reading: Reading
    if isinstance(source, Config):
        reading = dict(vars(source)), {}
    elif isinstance(source, Mapping):
        if not all(isinstance(name, str) for name in source):
            raise _not_a_source("must be a mapping whose keys are names of options")
        reading = {plain(name): value for name, value in source.items()}, {}
    else:
        raise _not_a_source(f"must be a Config, a mapping or a URL, got {kind(source)}")
    override(reading, options)
    return reading


def _of_url(url: object, options: Mapping[str, Any]) -> Reading:
    from waterdrop_py._settings.url import add_mechanism, read_url

    reading = read_url(plain(unwrapped(url)), Config.OPTIONS)
    override(reading, options)
    values, errors = reading
    if "url" not in errors and isinstance(values.get("kafka"), dict):
        add_mechanism(values["kafka"])
    return reading


def _not_a_source(sentence: str) -> ConfigurationInvalidError:
    return ConfigurationInvalidError({"config": sentence})
