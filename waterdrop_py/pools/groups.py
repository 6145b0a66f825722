"""`PoolGroup`: one pool for each configuration; and the limit of all groups."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

from waterdrop_py._engine.concurrency.weak_calls import call_if_alive
from waterdrop_py._settings.answering import Answering
from waterdrop_py._settings.arguments import flag, seconds
from waterdrop_py._settings.foreign_names import GROUP
from waterdrop_py.config import Config
from waterdrop_py.errors import PoolClosedError
from waterdrop_py.pools._group_options import (
    GroupOptions,
    UseDefaultLimit,
    checked_limit,
    config_of,
    use_default_limit,
)
from waterdrop_py.pools._group_pool import (
    GroupPool,
    Pools,
    close_all,
    open_pools,
)
from waterdrop_py.pools._settings import checked_config
from waterdrop_py.pools.pool import ProducerPool
from waterdrop_py.pools.stats import PoolReport

Key: TypeAlias = Config | Mapping[str, Any] | str


class _Process:
    """The limit of the groups that have none of their own, and all groups.

    Attributes:
        groups: weak references, by the id of the group. Not a WeakSet: one that a fork
            caught in the middle of an iteration would never purge again.
    """

    def __init__(self) -> None:
        self.limit = 10
        self._groups: dict[int, weakref.ref[PoolGroup]] = {}

    def add(self, group: PoolGroup) -> None:
        """Have `set_limit` and `reset` reach `group` while it lives."""
        key, groups = id(group), self._groups
        groups[key] = weakref.ref(group, lambda _: groups.pop(key, None))

    @property
    def groups(self) -> list[PoolGroup]:
        """The groups that live."""
        alive = [reference() for reference in list(self._groups.values())]
        return [group for group in alive if group is not None]


_PROCESS: Final = _Process()


class PoolGroup(metaclass=Answering, answers=GROUP):
    """A pool for each configuration: `group[config]` makes it at the first look-up.

    `with pools.producers[config].acquire() as producer:`. For libraries in one process
    that do not know of each other, and for configurations that come at run time, such
    as tenants. `pools.producers` is the group of the process.

    A key is a `Config`, a mapping of its options, or a URL. Equal configurations get
    the same pool. A `Config` is the fastest key: others are checked at each look-up.

    `key in group`, `len`, iteration (which gives `Config`s) and `values()` make no
    pool. A pool that is closed leaves the group at once, so `group[key].close()` drops
    a tenant. An empty group is falsy, like a dict.

    Only `reset` blocks; nothing opens a socket or starts a thread. Thread-safe, also in
    signal handlers and finalizers. A group that is dropped closes nothing: its pools
    live as long as they are referenced. It can be neither copied nor pickled.

    Args:
        limit: the `size` of each pool, 1 to 1000; by default that of `get_limit()`.
        client_limit: leases of one producer at a time. None: 100, or 1 with a
            `transactional.id`.
        pool_options: further options of `ProducerPool`, except `size` and `name`.

    Raises:
        ConfigurationInvalidError: with every violation at once.

    Example:
        >>> tenants = pools.PoolGroup(limit=2)
        >>> with tenants[config].acquire() as producer:
        ...     producer.produce_sync("orders", b"first").topic
        'orders'
        >>> tenants[config].close().complete, len(tenants)
        (True, 0)
    """

    __slots__ = ("__weakref__", "_limit", "_options", "_pools")

    def __init__(
        self,
        limit: int | UseDefaultLimit = use_default_limit,
        *,
        client_limit: int | None = None,
        **pool_options: Any,
    ) -> None:
        self._options = GroupOptions.of(limit, client_limit, pool_options)
        self._limit = limit if limit is use_default_limit else checked_limit(limit)
        self._pools: Pools = {}  # replaced, and never changed
        _PROCESS.add(self)

    # -- the pools ---------------------------------------------------------

    def __getitem__(self, key: Key) -> ProducerPool:
        """The pool of that configuration, made by the first look-up.

        Blocks no longer than constructing a `Config` and a `ProducerPool`.

        Raises:
            ConfigurationInvalidError: with every violation; nothing is stored.
        """
        config = config_of(key)
        pool = self._pools.get(config)
        if pool is None or pool.closed:
            pool = self._add(config)
        pool._announce_once()
        self._fit(pool)
        return pool

    def _add(self, config: Config) -> GroupPool:
        """The pool of `config`, which is made unless another thread adds one.

        A pool is a few objects until it is used. So each thread that finds none makes
        one, and drops it if another thread's was added first. A thread never waits for
        another one, which a signal handler may have interrupted, or a fork left behind
        (test_threads_that_look_up_at_once).
        """
        made: list[GroupPool] = []

        def add(pools: Pools) -> Pools:
            present = pools.get(config)
            if present is not None and not present.closed:
                return pools
            if not made:
                made.append(self._make(config))
            others = pools if present is None else open_pools(pools)
            return {**others, config: made[0]}

        return self._replace(add)[config]

    def _replace(self, change: Callable[[Pools], Pools]) -> Pools:
        """Replace the pools by `change(pools)`, also if others do so meanwhile.

        A `dict` that threads share would call `Config.__eq__` in the middle of a
        change, and could not compare and delete in one step.
        """
        while True:
            before = self._pools
            after = change(before)
            # No call between the comparison and the assignment, so no other thread and
            # no signal handler (test_look_ups_and_closes_at_once).
            if self._pools is before:
                self._pools = after
                return after

    def _make(self, config: Config) -> GroupPool:
        pool = GroupPool(config, **self._options.for_pool(config, self._size))
        forget = partial(call_if_alive, weakref.ref(self), PoolGroup._forget_closed)
        pool.monitor.subscribe("pool.closing", forget)
        return pool

    def _forget_closed(self, _event: object) -> None:
        """Keep neither the pools that are closed nor their configurations."""
        self._replace(open_pools)

    def __contains__(self, key: Key) -> bool:
        """Whether there is a pool of that configuration.

        Raises:
            ConfigurationInvalidError: `key` is not a configuration, or not a legal one.
        """
        pool = self._pools.get(key if isinstance(key, Config) else checked_config(key))
        return pool is not None and not pool.closed

    def __len__(self) -> int:
        return len(open_pools(self._pools))

    def __iter__(self) -> Iterator[Config]:
        """The configurations of the pools, as they are when this is called."""
        return iter(tuple(open_pools(self._pools)))

    def values(self) -> tuple[ProducerPool, ...]:
        """The pools, in the order in which they were made."""
        return tuple(open_pools(self._pools).values())

    # -- the limit ---------------------------------------------------------

    @property
    def limit(self) -> int | UseDefaultLimit:
        """The `size` of each pool; `use_default_limit`: that of `get_limit()`.

        Assigning it resizes the pools, both ways, and takes no lease away; a higher
        `min_connected` comes down with it.

        Raises:
            InvalidArgumentError: what is assigned is neither an int from 1 to 1000 nor
                `use_default_limit`.
        """
        return self._limit

    @limit.setter
    def limit(self, limit: int | UseDefaultLimit) -> None:
        if limit is not use_default_limit:
            limit = checked_limit(limit, ", or pools.use_default_limit")
        self._limit = limit
        self._fit_all()

    @property
    def client_limit(self) -> int | None:
        """Leases of one producer at a time. None: 100, or 1 with a
        `transactional.id`."""
        return self._options.client_limit

    @property
    def _size(self) -> int:
        limit = self._limit
        return _PROCESS.limit if limit is use_default_limit else limit

    def _fit(self, pool: GroupPool) -> None:
        """Give `pool` the size that is in force, unless it was given that already.

        A user may have resized it since. Of two threads that set a limit, either may
        resize last:
        1. The first thread reads limit 5. The second one sets limit 8, and resizes.
        2. The first thread resizes to 5, and reads the limit again: it is 8
           (test_two_limits_at_once).
        """
        size, fitted = self._size, pool._fitted
        while fitted != size:
            try:
                pool.resize(size, min_connected=min(pool.min_connected, size))
            except PoolClosedError:
                return
            pool._fitted = fitted = size
            size = self._size

    def _fit_all(self) -> None:
        for pool in open_pools(self._pools).values():
            self._fit(pool)

    # -- the end -----------------------------------------------------------

    def reset(
        self, timeout: float | timedelta | None = None, *, force: bool = False
    ) -> PoolReport:
        """Close all pools side by side, like `ProducerPool.close`; empties the group.

        Blocks for at most `timeout` seconds in all (None: the longest `close_timeout`
        of the pools) and 0.5 s more. Ctrl-C ends the wait at once, and the closes go
        on. A look-up meanwhile makes a new pool. A pool that was kept raises
        `PoolClosedError`. Thread-safe.

        Args:
            timeout: seconds, or a `timedelta`.
            force: give everything up, and wait for nothing.

        Raises:
            InvalidArgumentError: an argument is invalid; nothing was closed.
            TransactionalCloseError: called inside a transaction of one of the pools;
                nothing was closed.
        """
        bound = seconds("timeout", timeout)
        flag("force", force)
        return close_all(tuple(open_pools(self._pools).values()), bound, force=force)

    def __repr__(self) -> str:
        return (
            f"<PoolGroup limit={self._limit!r} client_limit={self.client_limit} "
            f"pools={len(self)}>"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PoolGroup cannot be copied or pickled: it owns pools")


producers: Final = PoolGroup()
"""The `PoolGroup` of the process."""


def get_limit() -> int:
    """The `size` of the pools of every group whose `limit` is `use_default_limit`.

    At first 10. Never blocks. Thread-safe.
    """
    return _PROCESS.limit


def set_limit(limit: int) -> int:
    """Set what `get_limit()` returns, and resize the pools concerned; returns it.

    Counts for pools that are made later, too. Both ways: no lease is taken away, and a
    higher `min_connected` comes down with it. Never blocks. Thread-safe.

    Args:
        limit: producers of each pool at most, 1 to 1000.

    Raises:
        InvalidArgumentError: `limit` is not an int from 1 to 1000.

    Example:
        >>> pools.set_limit(20), pools.get_limit()
        (20, 20)
    """
    _PROCESS.limit = number = checked_limit(limit)
    for group in _PROCESS.groups:
        group._fit_all()
    return number


def reset(
    timeout: float | timedelta | None = None, *, force: bool = False
) -> PoolReport:
    """Close the pools of all groups side by side, and empty the groups.

    Like `PoolGroup.reset`, within one `timeout` for all. Thread-safe.

    Args:
        timeout: seconds, or a `timedelta`. None: the longest `close_timeout`.
        force: give everything up, and wait for nothing.

    Raises:
        InvalidArgumentError, TransactionalCloseError: as `PoolGroup.reset`.

    Example:
        >>> with pools.producers[config].acquire() as producer:
        ...     handle = producer.produce_async("orders", b"last")
        >>> report = pools.reset(timeout=10)
        >>> report.complete, len(pools.producers)
        (True, 0)
    """
    bound = seconds("timeout", timeout)
    flag("force", force)
    pools = [
        pool for group in _PROCESS.groups for pool in open_pools(group._pools).values()
    ]
    return close_all(pools, bound, force=force)
