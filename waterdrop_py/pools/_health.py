"""`health()` of a pool."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain

from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._engine.introspection.health import Health
from waterdrop_py._settings.arguments import flag, required_seconds
from waterdrop_py.errors import WaterdropError
from waterdrop_py.pools._exhaustion import closed_error
from waterdrop_py.pools._figures import PoolFigures, status_of
from waterdrop_py.pools._producer import PoolProducer


class PoolHealth(PoolFigures):
    """A base class of `ProducerPool`."""

    __slots__ = ()

    def health(self, *, deep: bool = False, timeout: float | timedelta = 5.0) -> Health:
        """Whether the pool works.

        Shallow: opens and takes nothing, never blocks. An idle pool is healthy. Not
        healthy: a closed one, one with no slot in service, and one whose open producers
        are all unhealthy. Deep: asks the cluster through an open producer, or opens
        slot 0. Blocks for at most `timeout` seconds. Takes no lease. Thread-safe.

        Args:
            deep: ask the cluster, too.
            timeout: seconds of a deep check, or a `timedelta`.

        Raises:
            InvalidArgumentError: an argument is invalid. What is wrong with the cluster
                is in the result's `error`.

        Example:
            >>> pool.health().healthy, pool.health(deep=True).healthy
            (True, True)
        """
        check()
        bound = required_seconds("timeout", timeout)
        flag("deep", deep)
        members = self._members
        error: WaterdropError | None = members.lost
        if members.closed:
            error = closed_error(self.name)
        if error is not None:
            return Health(False, self._status, deep, None, error)
        if deep:
            return self._deep_health(bound)
        slots = [slot for slot in members.present if slot.in_service]
        made = [slot.producer for slot in slots]
        open_ones = [each for each in made if each is not None and each.is_open]
        found = [each.health() for each in open_ones]
        if found and not any(each.healthy for each in found):
            return found[0]
        return Health(True, self._status, False, None, None)

    def _deep_health(self, bound: float) -> Health:
        """Ask the cluster through an open producer, else open the first slot.

        An old producer is asked where each slot waits for one to close.
        """
        members = self._members
        open_ones = [
            each for each in members.producers() if each.is_open and not each.is_lost
        ]
        for producer in chain(
            (each for each in open_ones if each.retired is None),
            map(members.openable, members.present),
            open_ones,
        ):
            if producer is not None:
                return producer.health(deep=True, timeout=bound)
        # The lease of an old producer may open a client with the slot's id at any time.
        # This one registers none.
        proof = PoolProducer(
            members.settings.proving_config(),
            members.monitor,
            members.settings.label,
        )
        try:
            return proof.health(deep=True, timeout=bound)
        finally:
            proof.close(0.0, force=True)

    @property
    def _status(self) -> Status:
        """That of the producer that does most."""
        if self._members.closed:
            return Status.CLOSED
        found = {status_of(slot) for slot in self._members.present}
        return next(each for each in _BUSIEST_FIRST if each in found)


_BUSIEST_FIRST = (
    Status.CONNECTED,
    Status.CONNECTING,
    Status.DISCONNECTING,
    Status.DISCONNECTED,
    Status.CONFIGURED,
    Status.CLOSING,
    Status.CLOSED,
)
