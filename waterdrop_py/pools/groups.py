"""`PoolGroup`: one pool for each configuration; and the limit of all groups."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.versions import Versioned
from waterdrop_py._engine.concurrency.weak_calls import call_if_alive
from waterdrop_py._settings.arguments import seconds
from waterdrop_py._settings.foreign_names import Answering
from waterdrop_py._settings.plain import whole
from waterdrop_py._settings.pool_options import LARGEST, check_pool_options
from waterdrop_py._settings.reading import text_of
from waterdrop_py._settings.redact import shown
from waterdrop_py.config import Config
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    InvalidArgumentError,
    PoolClosedError,
)
from waterdrop_py.pools.pool import ProducerPool
from waterdrop_py.pools.report import PoolReport
from waterdrop_py.pools.side_by_side import side_by_side

Key: TypeAlias = Config | Mapping[str, Any] | str

SHARED: Final = 100
"""Leases of one producer at a time, unless the group says: libraries that do not know
of each other share a client."""

GRACE: Final = 0.5
"""Seconds that a reset may take beyond its timeout."""

_ANSWERS: Final = {
    "clear": "use reset(), which closes the pools",
    "close": "use reset(), which closes the pools",
    "get": "`key in group` asks, and group[key] makes the pool",
    "items": "use values(); each pool has its `config`",
    "keys": "iterate over the group, which gives the Configs",
    "pop": "use group[key].close(), with which the pool leaves the group",
    "setdefault": "use group[key], which makes the pool",
    "update": "use group[key], which makes the pool",
}


class UseDefaultLimit(Enum):
    """The type of `use_default_limit`, for annotations."""

    USE_DEFAULT_LIMIT = "use_default_limit"

    def __repr__(self) -> str:
        return "pools.use_default_limit"


use_default_limit: Final = UseDefaultLimit.USE_DEFAULT_LIMIT
"""A group's `limit`: that of `get_limit()`, now and later."""


class _Default:
    """The limit of the groups that have none of their own, and all groups.

    Attributes:
        groups: weak references by the id of the group. Not a WeakSet: one that a fork
            caught in the middle of an iteration would never purge again.
    """

    def __init__(self) -> None:
        self.limit = 10
        self.groups: dict[int, weakref.ref[PoolGroup]] = {}

    def add(self, group: PoolGroup) -> None:
        """Have `set_limit` and `reset` reach `group` while it lives."""
        key, groups = id(group), self.groups
        groups[key] = weakref.ref(group, lambda _: groups.pop(key, None))

    def every_group(self) -> list[PoolGroup]:
        """The groups that live."""
        alive = [reference() for reference in list(self.groups.values())]
        return [group for group in alive if group is not None]


_DEFAULT: Final = _Default()


class _GroupPool(ProducerPool):
    """A pool of a group; what the group asks of it beyond the public surface.

    Attributes:
        fitted: the limit of the group that it was given last.
    """

    __slots__ = ("_untold", "fitted")

    def __init__(self, config: Config, **options: Any) -> None:
        self.fitted: int = options["size"]
        self._untold: list[None] = [None]
        super().__init__(config, **options)

    def _announce(self) -> None:
        """Say nothing yet: of two that are made at once, only one is ever used."""

    def announce(self) -> None:
        """Emit `pool.created`, once: the first caller does."""
        if self._untold:
            try:
                self._untold.pop()
            except IndexError:
                return
            super()._announce()

    def _closed_text(self) -> str:
        return f"{super()._closed_text()}; look it up again: group[key] makes another"


_Pools: TypeAlias = Mapping[Config, _GroupPool]


class PoolGroup(metaclass=Answering, answers=_ANSWERS):
    """A pool for each configuration: `group[config]` makes it at the first look-up.

    `with pools.producers[config].acquire() as producer:`. For libraries in one process
    that do not know of each other, and for configurations that come at run time, such
    as tenants. `pools.producers` is the group of the process.

    A key is a `Config`, a mapping of its options, or a URL. Equal configurations get
    the same pool. A `Config` is the fastest key: others are checked at each look-up.

    `key in group`, `len`, iteration (which gives `Config`s) and `values()` make no
    pool. A pool that is closed leaves the group at once, so `group[key].close()` drops
    a tenant. An empty group is falsy, like a dict.

    Nothing here opens a socket or starts a thread, except `reset`. Thread-safe, also in
    signal handlers and finalizers. A group that is dropped closes nothing: its pools
    live as long as they are referenced. It can be neither copied nor pickled.

    Args:
        limit: the `size` of each pool, 1 to 1000; by default that of `get_limit()`.
        client_limit: leases of one producer at a time. None: 100, or 1 with a
            `transactional.id`.
        pool_options: further options of `ProducerPool`, except `size` and `name`.

    Raises:
        ConfigurationInvalidError: with every violation at once.
    """

    __slots__ = ("__weakref__", "_client_limit", "_limit", "_options", "_pools")

    def __init__(
        self,
        limit: int | UseDefaultLimit = use_default_limit,
        *,
        client_limit: int | None = None,
        **pool_options: Any,
    ) -> None:
        self._limit, self._client_limit, self._options = _checked(
            limit, client_limit, pool_options
        )
        self._pools: Versioned[_Pools] = Versioned({})
        _DEFAULT.add(self)

    # -- the pools ---------------------------------------------------------

    def __getitem__(self, key: Key) -> ProducerPool:
        """The pool of that configuration, made by the first look-up.

        Blocks for no longer than a `Config` and a `ProducerPool` take to be made.
        Raises `ConfigurationInvalidError`, and nothing is stored.
        """
        config = _config_of(key)
        pool = self._pools.get().get(config)
        if pool is None or pool.closed:
            pool = self._pools.update(self._adding(config))[config]
        pool.announce()
        self._fit(pool)
        return pool

    def _adding(self, config: Config) -> Callable[[_Pools], _Pools]:
        """A change that adds a pool, unless another thread has added one.

        Each thread that finds none makes one. A pool is a few objects until it is used,
        and only the one that is added is announced.
        """
        made: list[_GroupPool] = []

        def add(pools: _Pools) -> _Pools:
            present = pools.get(config)
            if present is not None and not present.closed:
                return pools
            if not made:
                made.append(self._make(config))
            return {**_open(pools), config: made[0]}

        return add

    def _make(self, config: Config) -> _GroupPool:
        size, options = self._size, dict(self._options)
        options["min_connected"] = min(options["min_connected"], size)
        if (shared := self._client_limit) is None:
            transactional = text_of(config.kafka, "transactional.id") is not None
            shared = 1 if transactional else SHARED
        pool = _GroupPool(config, size=size, client_limit=shared, **options)
        forget = partial(call_if_alive, weakref.ref(self), PoolGroup._forget_closed)
        pool.monitor.subscribe("pool.closing", forget)
        return pool

    def _forget_closed(self, _event: object) -> None:
        """Let go of pools that are closed, and of their configurations."""
        self._pools.update(_open)

    def __contains__(self, key: Key) -> bool:
        """Whether there is a pool of that configuration.

        Raises `ConfigurationInvalidError` for what is not a configuration.
        """
        pool = self._pools.get().get(_config_of(key))
        return pool is not None and not pool.closed

    def __len__(self) -> int:
        return len(self.values())

    def __iter__(self) -> Iterator[Config]:
        """The configurations of the pools, as they were when this was called."""
        return iter(tuple(_open(self._pools.get())))

    def values(self) -> tuple[ProducerPool, ...]:
        """The pools, in the order in which they were made."""
        return tuple(_open(self._pools.get()).values())

    # -- the limit ---------------------------------------------------------

    @property
    def limit(self) -> int | UseDefaultLimit:
        """The `size` of the pools; `use_default_limit`: that of `get_limit()`.

        Assigning it resizes all pools, both ways, and takes no lease away. A higher
        `min_connected` comes down with it. Raises `InvalidArgumentError`.
        """
        return self._limit

    @limit.setter
    def limit(self, limit: int | UseDefaultLimit) -> None:
        if limit is not use_default_limit:
            limit = _checked_limit(limit, ", or pools.use_default_limit")
        self._limit = limit
        self._fit_all()

    @property
    def client_limit(self) -> int | None:
        """Leases of one producer at a time; None: 100, or 1 with a
        `transactional.id`."""
        return self._client_limit

    @property
    def _size(self) -> int:
        limit = self._limit
        return _DEFAULT.limit if limit is use_default_limit else limit

    def _fit(self, pool: _GroupPool) -> None:
        """Give `pool` the size that is in force, unless it was given that already.

        A user may have resized it since. Of two threads that set a limit, the slower
        one may resize last:
        1. The first thread reads limit 5. The second one sets limit 8, and resizes.
        2. The first thread resizes to 5, and reads the limit again: it is 8
           (test_two_limits_at_once).
        """
        size, fitted = self._size, pool.fitted
        while fitted != size:
            try:
                pool.resize(size, min_connected=min(pool.min_connected, size))
            except PoolClosedError:
                return
            pool.fitted = fitted = size
            size = self._size

    def _fit_all(self) -> None:
        for pool in _open(self._pools.get()).values():
            self._fit(pool)

    # -- the end -----------------------------------------------------------

    def reset(
        self, timeout: float | timedelta | None = None, *, force: bool = False
    ) -> PoolReport:
        """Close all pools side by side, as `ProducerPool.close`; empties the group.

        Blocks for at most `timeout` seconds in all (None: the longest `close_timeout`
        of the pools) and 0.5 s more. Ctrl-C ends the wait at once, and the closes go
        on. A look-up meanwhile makes a new pool. A pool that was kept raises
        `PoolClosedError`.

        Raises:
            InvalidArgumentError: `timeout` is not a duration.
            TransactionalCloseError: called inside a transaction of one of the pools;
                nothing was closed.
        """
        return _close([self], timeout, force=force)

    def __repr__(self) -> str:
        return (
            f"<PoolGroup limit={self._limit!r} client_limit={self._client_limit} "
            f"pools={len(self)}>"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PoolGroup cannot be copied or pickled: it owns pools")


def _checked(
    limit: object, client_limit: object, options: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """The checked arguments of a group. All violations are in one error."""
    errors: dict[str, str] = {}
    given = {name: each for name, each in options.items() if name not in _NOT_OURS}
    if client_limit is not None:
        given["client_limit"] = client_limit
    if limit is not use_default_limit:
        given["size"] = limit
    ours, wrong = check_pool_options({"size": LARGEST, **given})
    if "size" in wrong:
        wrong["limit"] = f"{wrong.pop('size')}; pools.use_default_limit is legal too"
    errors = {
        **wrong,
        **{name: _NOT_OURS[name] for name in options if name in _NOT_OURS},
    }
    if errors:
        raise ConfigurationInvalidError(errors)
    kept = {name: ours[name] for name in _OPTIONS}
    return (
        limit if limit is use_default_limit else ours["size"],
        None if client_limit is None else ours["client_limit"],
        kept,
    )


_OPTIONS: Final = ("min_connected", "strategy", "timeout", "max_waiting")
_NOT_OURS: Final = {
    "name": "unknown option 'name'; a group has many pools: each has the `id` of its "
    "Config, else a name of its own",
    "size": "unknown option 'size'; did you mean 'limit'?",
}


def _checked_limit(limit: object, otherwise: str = "") -> int:
    number = whole(limit)
    if number is None or not 1 <= number <= LARGEST:
        raise InvalidArgumentError(
            f"limit: must be an int from 1 to {LARGEST}{otherwise}, got {shown(limit)}"
        )
    return number


def _config_of(key: object) -> Config:
    if isinstance(key, Config):
        return key
    if key is None:
        raise ConfigurationInvalidError(
            {"config": "must be a Config, a mapping or a URL, got None"}
        )
    return Config.of(key, {})


def _open(pools: _Pools) -> _Pools:
    """Those that are not closed; `pools` itself if all are not."""
    if any(pool.closed for pool in pools.values()):
        return {config: pool for config, pool in pools.items() if not pool.closed}
    return pools


def _close(
    groups: Iterable[PoolGroup], timeout: float | timedelta | None, *, force: bool
) -> PoolReport:
    """Close the pools of `groups`, as `PoolGroup.reset`."""
    bound, began = seconds("timeout", timeout), clock.system_now()
    pools = [pool for group in groups for pool in group.values()]
    for pool in pools:
        pool.refuse_inside_transaction()
    bounds = [pool.close_timeout if bound is None else bound for pool in pools]

    def close(pool: ProducerPool, bound: float) -> PoolReport:
        left = max(0.0, began + bound - clock.system_now())
        return pool.close(left, force=force)

    closes = side_by_side(
        [partial(close, *each) for each in zip(pools, bounds, strict=True)],
        began + max(bounds, default=0.0) + GRACE,
    )
    reports = [each.result() for each in closes if each.done]
    holders = [holder for report in reports for holder in report.holders]
    return PoolReport(
        sum(report.delivered for report in reports),
        sum(report.failed for report in reports),
        [message for report in reports for message in report.undelivered],
        len(reports) == len(pools) and all(report.complete for report in reports),
        tuple(sorted(holders, key=lambda holder: -holder.held_ms)),
    )


producers: Final = PoolGroup()
"""The group of the process."""


def get_limit() -> int:
    """The `size` of the pools of every group whose `limit` is `use_default_limit`.

    10 at first.
    """
    return _DEFAULT.limit


def set_limit(limit: int) -> int:
    """Set what `get_limit()` returns, and resize the pools that have it; returns it.

    Counts for pools that are made later too. Both ways: no lease is taken away, and a
    higher `min_connected` comes down with it. Never blocks. Thread-safe.

    Raises:
        InvalidArgumentError: `limit` is not an int from 1 to 1000.
    """
    _DEFAULT.limit = number = _checked_limit(limit)
    for group in _DEFAULT.every_group():
        group._fit_all()  # noqa: SLF001 - of this module
    return number


def reset(
    timeout: float | timedelta | None = None, *, force: bool = False
) -> PoolReport:
    """Close the pools of all groups side by side, and empty the groups.

    See `PoolGroup.reset`.
    """
    return _close(_DEFAULT.every_group(), timeout, force=force)
