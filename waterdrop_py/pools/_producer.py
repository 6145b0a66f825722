"""`PoolProducer`: a producer in a slot, whose events the pool's monitor hears too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from waterdrop_py._engine.introspection import probe
from waterdrop_py._engine.introspection.accounts import Labels
from waterdrop_py._engine.shutdown.close import must_not_wait
from waterdrop_py._front_end import components_of
from waterdrop_py.errors import ProduceError
from waterdrop_py.producer import Producer

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.config import Config
    from waterdrop_py.monitor import Monitor


class Ending(Protocol):
    """How a producer is closed that no new lease gets."""

    def begin(self) -> None:
        """Have it drained and closed. Does not wait."""

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether it is closed."""


class PoolProducer(Producer):
    """A producer of a pool; what the pool asks of it beyond the public surface."""

    __slots__ = ("_parent", "_pool", "_retired")

    def __init__(self, config: Config, parent: Monitor, pool: str | None) -> None:
        """`pool`: the name that the user gave the pool."""
        self._parent = parent
        self._pool = pool
        self._retired: Ending | None = None
        super().__init__(config)

    def _parent_monitor(self) -> Monitor:
        return self._parent

    def _labels(self) -> Labels:
        return super()._labels()._replace(id=None, pool=self._pool)

    def refresh(self) -> None:
        """The subscriptions to the pool's monitor have changed."""
        components_of(self).refresh()

    @property
    def retired(self) -> Ending | None:
        """How it is closed, once no new lease gets it."""
        return self._retired

    def retire(self, by: Ending) -> Ending:
        """Have it closed by `by`, unless that was decided before; by which it is.

        From the comparison on, no function of Python is entered before the attribute is
        set; there, threads would switch. `Patchable` has such a function, so this does
        without it (test_a_producer_is_retired_once).
        """
        retired = self._retired
        if retired is None:
            object.__setattr__(self, "_retired", by)
            return by
        return retired

    def retire_anew(self, by: Ending) -> None:
        """Have it closed by `by`: this is a forked child, without other threads."""
        object.__setattr__(self, "_retired", by)  # as above

    def connect_by(
        self,
        timeout: float,
        retries: probe.Retries,
        wait: Callable[[float], bool | None],
    ) -> None:
        """`connect`, which calls `wait` with the seconds to its next attempt."""
        probe.connect(self._connection, timeout, retries, wait)

    def would_wait_here(self) -> bool:
        """Whether a close would wait for the call that this thread is inside of."""
        return must_not_wait(self._connection)

    @property
    def is_open(self) -> bool:
        """`is_connected`, without looking whether this is a forked child."""
        return self._connection.current_client is not None

    @property
    def is_busy(self) -> bool:
        """Whether it has messages to deliver; else its close takes no time."""
        return bool(self.queue_size or self.buffer_size)

    @property
    def is_lost(self) -> bool:
        """Whether it needs a look: a fatal error, or the user has closed it."""
        connection = self._connection
        return (
            connection.client.fatal is not None
            or connection.fatal_client is not None
            or connection.is_closing
        )

    @property
    def is_gone(self) -> bool:
        """Whether it is closed for good, and not only by the exit handler."""
        connection = self._connection
        return connection.is_closing and connection.hooks.reopen is None

    def fatal_error(self) -> ProduceError | None:
        """The fatal error that stays, which its own policy does not mend."""
        error = self.health().error
        return error if isinstance(error, ProduceError) else None
