"""What a pool is made with: its options, and the configuration of each slot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from waterdrop_py._settings.callables import BEFORE, async_error
from waterdrop_py._settings.pool_options import check_pool_options
from waterdrop_py._settings.reading import text_of
from waterdrop_py._settings.redact import shown
from waterdrop_py.config import Config
from waterdrop_py.errors import ConfigurationInvalidError

Source: TypeAlias = Config | Mapping[str, Any] | str
PoolConfig: TypeAlias = Source | Callable[[int], Source]
"""What `ProducerPool` takes as `config`; a callable gives one for each index."""
Strategy: TypeAlias = Literal["pack", "spread"]

DEFAULT_IDLE_MS: Final = 180_000
"""Milliseconds of idleness after which a slot is closed, unless the config says.

Azure cuts flows that are idle for 240 s."""
YOUNGEST_MS: Final = 30_000
"""The least `max_connection_age`, in milliseconds."""
AGE_SPREAD: Final = 0.05
_ID: Final = "transactional.id"


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The settings of a pool, as set now. Immutable.

    Attributes:
        source: the configuration of all slots, or the callable.
        base: the configuration of all slots; None if `source` is a callable.
        configs: what a callable returned, by index; it is asked once for each.
        timeout: seconds that `acquire()` waits.
        label: the name, where the user gave one.
    """

    name: str
    source: PoolConfig
    base: Config | None
    configs: tuple[Config, ...]
    size: int
    client_limit: int
    min_connected: int
    strategy: Strategy
    timeout: float
    max_waiting: int | None
    label: str | None

    @classmethod
    def of(cls, source: PoolConfig, options: Mapping[str, Any]) -> PoolSettings:
        """The checked settings.

        Raises:
            ConfigurationInvalidError: with every violation.
            Exception: what a callable `source` raises.
        """
        values, errors = check_pool_options(options, Config.OPTIONS)
        size = values.get("size", 1)
        base: Config | None = None
        configs: tuple[Config, ...] = ()
        try:
            base, configs = _read(source, range(size if isinstance(size, int) else 1))
        except ConfigurationInvalidError as invalid:
            errors = {**errors, **invalid.errors}
        first = base or (configs[0] if configs else None)
        limit = values.get("client_limit", 1)
        if first is not None and text_of(first.kafka, _ID) is not None and limit != 1:
            errors["client_limit"] = (
                f"must be 1 with a transactional.id, got {shown(limit)}: a transaction "
                "needs its producer for itself"
            )
        if errors:
            raise ConfigurationInvalidError(errors)
        if values["name"] is None:
            values["name"] = None if base is None else base.id
        label = values["name"]
        if label is None:
            values["name"] = f"pool-{os.urandom(6).hex()}"
        return cls(
            source=base or source, base=base, configs=configs, label=label, **values
        )

    @property
    def is_transactional(self) -> bool:
        """Whether the producers have a `transactional.id`."""
        return text_of(self.any_config.kafka, _ID) is not None

    @property
    def any_config(self) -> Config:
        """The configuration of slot 0, without what only the pool adds."""
        return self.configs[0] if self.base is None else self.base

    @property
    def close_timeout(self) -> float:
        """Seconds that `close()` waits when none are given."""
        all_of_them = self.configs or (self.any_config,)
        return max(each.close_timeout for each in all_of_them) / 1000

    def config_of(self, index: int) -> Config:
        """The configuration of the producer in slot `index`."""
        config = self.configs[index] if self.base is None else self.base
        changes: dict[str, Any] = {
            "idle_disconnect_timeout": self._idle_of(index, config),
            "max_connection_age": self._age_of(index, config),
        }
        if self.base is not None or config.id is None:
            changes["id"] = f"{self.name}-{index}"
        transactional_id = self.transactional_id_of(index)
        if self.base is not None and transactional_id is not None:
            changes["kafka"] = {**config.kafka, _ID: transactional_id}
        return derived(config, **changes)

    def transactional_id_of(self, index: int) -> str | None:
        """The `transactional.id` of slot `index`, if it has one."""
        if self.base is None:
            return text_of(self.configs[index].kafka, _ID)
        prefix = text_of(self.base.kafka, _ID)
        return None if prefix is None else f"{prefix}-{index}"

    def producer_id_of(self, index: int) -> str:
        """The id of the producer in slot `index`."""
        own = None if self.base is not None else self.configs[index].id
        return own or f"{self.name}-{index}"

    def proving_config(self) -> Config:
        """A configuration like that of slot 0, which registers no id."""
        config = self.config_of(0)
        kafka = {name: each for name, each in config.kafka.items() if name != _ID}
        kafka.pop("transaction.timeout.ms", None)
        return derived(config, kafka=kafka, id=f"{self.name}-reload")

    def _idle_of(self, index: int, config: Config) -> int:
        if index < self.min_connected:
            return 0
        return config.idle_disconnect_timeout or DEFAULT_IDLE_MS

    def _age_of(self, index: int, config: Config) -> int:
        """Shorter by up to 5 %: what was opened together is not replaced together."""
        age = config.max_connection_age
        shorter = int(age * (1 - AGE_SPREAD * index / self.size))
        return min(age, max(YOUNGEST_MS, shorter))

    def resized(self, size: int, min_connected: int) -> PoolSettings:
        """The same for another size; a callable is asked about new indices only."""
        new = range(len(self.configs), size)
        configs = self.configs
        if self.base is None and new:
            configs = (*configs, *_configs(self.source, new, known=configs))
        return replace(self, size=size, min_connected=min_connected, configs=configs)

    def reloaded(self, source: PoolConfig | None) -> PoolSettings:
        """The same with another configuration, or with the same one read again."""
        source = self.source if source is None else source
        base, configs = _read(source, range(self.size))
        return replace(
            self, source=base or source, base=base, configs=configs
        ).checked()

    def configured_as(self, other: PoolSettings) -> PoolSettings:
        """These, with the configuration of `other`, for as many slots as these have."""
        if other.base is None:
            other = other.resized(max(self.size, other.size), other.min_connected)
        return replace(
            self, source=other.source, base=other.base, configs=other.configs
        )

    def checked(self) -> PoolSettings:
        """Raises `ConfigurationInvalidError` unless `client_limit` is legal."""
        if self.is_transactional and self.client_limit != 1:
            raise ConfigurationInvalidError(
                {
                    f"kafka.{_ID}": "must not be set in a pool with a client_limit of "
                    f"{self.client_limit}: a transaction needs its producer for itself"
                }
            )
        return self


def derived(config: Config, **options: Any) -> Config:
    """`config.replace(**options)` for a pool's own changes: no `TuningWarning`.

    What stays is not checked again: a short idle timeout is legal only while a test
    allows it, and a slot's producer is made later.
    """
    changed = {
        name: each for name, each in options.items() if each != getattr(config, name)
    }
    values, errors = Config.checked({"kafka": config.kafka, **changed})
    if errors:
        raise ConfigurationInvalidError(errors)
    made = object.__new__(Config)
    kept = {name: each for name, each in vars(config).items() if name not in changed}
    vars(made).update({**values, **kept})
    return made


def checked_config(given: object) -> Config:
    """The configuration that `given` is. None is not one: a producer would take it for
    "in keywords", which a pool does not have.

    Raises:
        ConfigurationInvalidError: with every violation.
    """
    if given is None:
        raise ConfigurationInvalidError(
            {"config": "must be a Config, a mapping or a URL, got None"}
        )
    return Config.of(given, {})


def _read(source: Any, indexes: range) -> tuple[Config | None, tuple[Config, ...]]:
    if callable(source) and not isinstance(source, Config | Mapping | str):
        sentence = async_error(source, BEFORE)
        if sentence is not None:
            raise ConfigurationInvalidError({"config": sentence})
        return None, _configs(source, indexes)
    return checked_config(source), ()


def _configs(
    source: Any, indexes: range, *, known: tuple[Config, ...] = ()
) -> tuple[Config, ...]:
    """What the callable returns for `indexes`, checked together with `known`."""
    found: list[Config | None] = []
    errors: dict[str, str] = {}
    for index in indexes:
        given = source(index)
        try:
            found.append(checked_config(given))
        except ConfigurationInvalidError as invalid:
            found.append(None)
            for path, sentence in invalid.errors.items():
                at = f"config[{index}]"
                errors[at if path == "config" else f"{at}.{path}"] = sentence
    configs = [*known, *found]
    if None not in configs:
        errors |= _wrong_ids([each for each in configs if each is not None])
    if errors:
        raise ConfigurationInvalidError(errors)
    return tuple([each for each in found if each is not None])


def _wrong_ids(configs: list[Config]) -> dict[str, str]:
    """Errors of transactional ids: all slots have one, each its own, or none has."""
    ids = [text_of(each.kafka, _ID) for each in configs]
    errors: dict[str, str] = {}
    first: dict[str, int] = {}
    with_one = sum(each is not None for each in ids)
    for index, each in enumerate(ids):
        path = f"config[{index}].kafka.{_ID}"
        if each is None and with_one:
            errors[path] = (
                f"is missing, and {with_one} of {len(ids)} indices have one; give each "
                "index its own, or none"
            )
        elif each is not None and first.setdefault(each, index) != index:
            errors[path] = (
                f"must differ from every other, got {shown(each)}, which index "
                f"{first[each]} has too"
            )
    return errors
