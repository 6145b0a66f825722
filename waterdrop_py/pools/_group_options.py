"""Checks the options of a `PoolGroup`; `use_default_limit`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from waterdrop_py._settings.plain import whole
from waterdrop_py._settings.pool_options import LARGEST_SIZE, check_group_options
from waterdrop_py._settings.reading import text_of
from waterdrop_py._settings.redact import shown
from waterdrop_py.config import Config
from waterdrop_py.errors import ConfigurationInvalidError, InvalidArgumentError
from waterdrop_py.pools._settings import checked_config

SHARED: Final = 100
"""Leases of one producer at a time, unless the group says: libraries that do not know
of each other share a client."""

_ID: Final = "transactional.id"


class UseDefaultLimit(Enum):
    """The type of `use_default_limit`, for annotations."""

    USE_DEFAULT_LIMIT = "use_default_limit"

    def __repr__(self) -> str:
        return "pools.use_default_limit"


use_default_limit: Final = UseDefaultLimit.USE_DEFAULT_LIMIT
"""A group's `limit`: what `get_limit()` returns, now and later."""


@dataclass(frozen=True, slots=True)
class GroupOptions:
    """The options that a group makes its pools with. Immutable.

    Attributes:
        client_limit: None: 100, or 1 with a `transactional.id`.
        of_pools: the others, by name, with the values that `ProducerPool` takes.
    """

    client_limit: int | None
    of_pools: Mapping[str, Any]

    @classmethod
    def of(
        cls, limit: object, client_limit: object, options: Mapping[str, object]
    ) -> GroupOptions:
        """The checked options.

        Raises:
            ConfigurationInvalidError: with every violation.
        """
        ceiling = LARGEST_SIZE if limit is use_default_limit else limit
        given = {**options, "limit": ceiling}
        if client_limit is not None:
            given["client_limit"] = client_limit
        values, errors = check_group_options(given, Config.OPTIONS)
        if errors:
            raise ConfigurationInvalidError(errors)
        own = {name: each for name, each in values.items() if name in options}
        return cls(None if client_limit is None else values["client_limit"], own)

    def for_pool(self, config: Config, size: int) -> dict[str, Any]:
        """The options of a pool of `size` producers, beside its `config`."""
        options = {**self.of_pools, "size": size, "client_limit": self.client_limit}
        if self.client_limit is None:
            transactional = text_of(config.kafka, _ID) is not None
            options["client_limit"] = 1 if transactional else SHARED
        if "min_connected" in options:
            options["min_connected"] = min(options["min_connected"], size)
        return options


def checked_limit(limit: object, otherwise: str = "") -> int:
    """The limit as an int; `otherwise` names what else is legal.

    Raises:
        InvalidArgumentError: it is not an int from 1 to 1000.
    """
    number = whole(limit)
    if number is None or not 1 <= number <= LARGEST_SIZE:
        raise InvalidArgumentError(
            f"limit: must be an int from 1 to {LARGEST_SIZE}{otherwise}, got "
            f"{shown(limit)}"
        )
    return number


def config_of(key: object) -> Config:
    """The configuration of a key.

    Without librdkafka's verdict, of 0.2 ms: the pool asks for it when it is made.
    """
    if isinstance(key, Config):
        return key
    try:
        if isinstance(key, str):
            return Config.from_url(key)
        if isinstance(key, Mapping):
            return Config(key)
    except ConfigurationInvalidError:
        pass  # the error with the verdict names every violation
    return checked_config(key)
