"""How a pool is changed while it is used: `resize` and `reload`."""

from __future__ import annotations

from datetime import timedelta

from waterdrop_py._settings.arguments import required_seconds
from waterdrop_py.pools._settings import PoolConfig
from waterdrop_py.pools._taking import PoolTaking


class PoolChanging(PoolTaking):
    """A base class of `ProducerPool`."""

    __slots__ = ()

    def resize(self, size: int, *, min_connected: int | None = None) -> None:
        """Have at most `size` producers from now on. Never blocks. Thread-safe.

        A larger pool serves the callers that wait at once. A smaller one loses slots
        from the highest index down: free ones now, leased ones when they come back.
        No lease is taken away. A callable `config` is asked for each new index.

        Args:
            size: producers at most, 1 to 1000.
            min_connected: slots that stay open. None: as before, or `size` if that is
                less.

        Raises:
            InvalidArgumentError: an argument is invalid; nothing has changed.
            ConfigurationInvalidError: with every violation of what a callable returned;
                nothing has changed.
            Exception: what a callable `config` raises.
            PoolClosedError: the pool is closed.

        Example:
            >>> pool.resize(20)
            >>> pool.size
            20
        """
        self._refuse_closed()
        self._prepare()
        self._reloading.resize(size, min_connected)

    def reload(
        self, config: PoolConfig | None = None, *, timeout: float | timedelta = 30.0
    ) -> None:
        """Use another configuration, or the same once more: make before break.

        First opens new producers for the slots that are connected, at least for one,
        and proves them within `timeout` seconds. If that fails, it raises, and nothing
        has changed. Then new leases get the new producers. Each old one is drained, and
        closed in the background once its last lease has ended. With a
        `transactional.id`, one client without the id proves the configuration, and in
        each slot the old client closes before the new one opens, between leases. Slots
        that were out of service are in service again. Blocks for at most `timeout`
        seconds and 1 s more; of two calls at once, the second waits within its own
        `timeout`. Thread-safe.

        Args:
            config: as for the constructor; None is the one it has.
            timeout: seconds of the proof, or a `timedelta`.

        Raises:
            BrokerUnreachableError, ProduceError: the proof failed.
            ConfigurationInvalidError: with every violation.
            InvalidArgumentError: `timeout` is not a duration.
            PoolTimeoutError: another reload did not end in time.
            PoolClosedError: the pool is closed, or was closed meanwhile.
            Exception: what a callable `config` raises.

        Example:
            >>> kafka = {"bootstrap.servers": "localhost:9092", "acks": 1}
            >>> pool.reload({"kafka": kafka})
            >>> pool.config.kafka["acks"]
            1
        """
        self._refuse_closed()
        bound = required_seconds("timeout", timeout)
        self._reloading.run(config, bound)
        self._stale = False  # a reload that failed leaves a forked child as it was
