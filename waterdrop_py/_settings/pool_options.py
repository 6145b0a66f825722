"""Checks the options of a pool, and answers names of other pools with ours."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._settings.librdkafka import closest
from waterdrop_py._settings.option_types import (
    Option,
    choice,
    count,
    optional_count,
    optional_text,
    seconds,
)
from waterdrop_py._settings.redact import shown
from waterdrop_py._settings.rejected import RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LARGEST_SIZE: Final = 1_000
"""Producers of one pool at most: a process holds about 1000 clients."""

POOL_OPTIONS: Final[Mapping[str, Option[Any, Any]]] = MappingProxyType(
    {
        "size": count(10, minimum=1, maximum=LARGEST_SIZE, unit="producers"),
        "client_limit": count(1, minimum=1, unit="leases of one producer"),
        "min_connected": count(0, minimum=0, unit="producers"),
        "strategy": choice("pack", "spread"),
        "timeout": seconds(5.0),
        "max_waiting": optional_count(None, minimum=1, unit="waiting callers"),
        "name": optional_text(None),
    }
)
GROUP_OPTIONS: Final[Mapping[str, Option[Any, Any]]] = MappingProxyType(
    {
        "limit": POOL_OPTIONS["size"],
        **{k: v for k, v in POOL_OPTIONS.items() if k not in {"size", "name"}},
    }
)
"""The options of a group of pools, whose `limit` is the `size` of each."""

# Arguments of SQLAlchemy, psycopg_pool, httpx, redis-py, kombu and WaterDrop's pool.
_FOREIGN: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *("max_connections", "max_size", "pool_size", "producer_pool_size"),
            *("limit", "size"),
        ),
        "size",
    ),
    **dict.fromkeys(("min_size", "preload"), "min_connected"),
    "max_leases": "client_limit",
}
_FOREIGN_OF_CONFIG: Final[Mapping[str, str]] = {
    **dict.fromkeys(("max_idle", "max_idle_seconds"), "idle_disconnect_timeout"),
    **dict.fromkeys(("max_lifetime", "max_lifespan_seconds"), "max_connection_age"),
}


_NO_NAME: Final = (
    "unknown option 'name'; each pool of a group has the id of its Config, or a name "
    "of its own"
)


def check_pool_options(
    given: Mapping[str, object], config_options: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, str]]:
    """Check a pool's options: their values, and what is wrong by option.

    The values are the legal ones, and the defaults of options that are not given.
    `timeout` is a float of seconds. Errors are in the order of the table; unknown names
    come last, and their values are not shown. The sentence about an unknown name says
    so if it is one of `config_options`, the options of `Config`. Never blocks.
    """
    return _check(POOL_OPTIONS, given, config_options)


def check_group_options(
    given: Mapping[str, object], config_options: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, str]]:
    """Check the options of a group of pools, like `check_pool_options`."""
    values, errors = _check(GROUP_OPTIONS, given, config_options)
    if "name" in errors:
        errors["name"] = _NO_NAME
    return values, errors


def _check(
    table: Mapping[str, Option[Any, Any]],
    given: Mapping[str, object],
    config_options: Collection[str],
) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, option in table.items():
        if name not in given:
            values[name] = option.default
            continue
        try:
            values[name] = option.check(given[name])
        except RefusedError as refused:
            errors[name] = str(refused)
    ceiling = next(iter(table))
    size, opened = values.get(ceiling), values.get("min_connected")
    if size is not None and opened is not None and opened > size:
        errors["min_connected"] = (
            f"must be at most {ceiling}, which is {size}, got {shown(opened)}"
        )
        del values["min_connected"]
    for name in given:
        if name not in table:
            errors[name] = _unknown(name, table, config_options)
    return values, errors


def _unknown(
    name: str, table: Mapping[str, object], config_options: Collection[str]
) -> str:
    spelt = name.lower().replace("-", "_")
    if meant := _FOREIGN.get(spelt):
        meant = meant if meant in table else next(iter(table))
        return f"unknown option {name!r}; did you mean {meant!r}?"
    if meant := _FOREIGN_OF_CONFIG.get(spelt):
        return f"unknown option {name!r}; did you mean {meant!r} of the Config?"
    if spelt in config_options:
        return f"unknown option {name!r}; it is an option of the Config"
    if meant := closest(spelt, table):
        return f"unknown option {name!r}; did you mean {meant!r}?"
    return f"unknown option {name!r}; the options are {', '.join(table)}"
