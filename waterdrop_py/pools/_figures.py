"""What a pool says of itself: its settings, figures, slots and health."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain
from typing import Any

from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._engine.introspection.stats import Health
from waterdrop_py._settings.answering import Answering
from waterdrop_py._settings.arguments import flag, required_seconds
from waterdrop_py._settings.foreign_names import POOL
from waterdrop_py.errors import WaterdropError
from waterdrop_py.monitor import Monitor
from waterdrop_py.pools._exhaustion import closed_error
from waterdrop_py.pools._leasing import Leasing
from waterdrop_py.pools._members import Members
from waterdrop_py.pools._producer import PoolProducer
from waterdrop_py.pools._settings import PoolConfig, Strategy
from waterdrop_py.pools._slot import Slot
from waterdrop_py.pools.stats import PoolSlot, PoolStats


class PoolFigures(metaclass=Answering, answers=POOL):
    """The base class of `ProducerPool`. Nothing here blocks or opens a client, except
    a deep `health()`."""

    __slots__ = ("__weakref__", "_leasing", "_members")

    # `Any`: a user's type checker need not know the parts.
    def __init__(self, leasing: Any) -> None:
        self._leasing: Leasing = leasing
        self._members: Members = leasing.members

    def health(self, *, deep: bool = False, timeout: float | timedelta = 5.0) -> Health:
        """Whether the pool works.

        Shallow: opens and takes nothing, never blocks. An idle pool is healthy. Not
        healthy: a closed one, one with no slot in service, and one whose open producers
        are all unhealthy. Deep: asks the cluster through an open producer, or opens
        slot 0, for at most `timeout` seconds. Takes no lease. Thread-safe.

        Raises:
            InvalidArgumentError: an argument is invalid. What is wrong with the cluster
                is in the result's `error`.
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
        proof = PoolProducer(members.settings.proving_config(), members.monitor)
        try:
            return proof.health(deep=True, timeout=bound)
        finally:
            proof.close(0.0, force=True)

    @property
    def _status(self) -> Status:
        """That of the producer that does most."""
        if self._members.closed:
            return Status.CLOSED
        found = {_status_of(slot) for slot in self._members.present}
        return next(each for each in _BUSIEST_FIRST if each in found)

    def stats(self) -> PoolStats:
        """The figures of the pool now. Never blocks, opens nothing. Thread-safe."""
        check()
        members, line = self._members, self._leasing.line
        settings, counts = members.settings, self._leasing.counts
        totals, draining, producers = members.all_time()
        for producer in producers:
            totals = totals.plus(producer.stats())
        granted, timed_out, refused = counts.granted, counts.timed_out, counts.refused
        waiting = len(line)
        return PoolStats(
            size=settings.size,
            min_connected=settings.min_connected,
            client_limit=settings.client_limit,
            connected=sum(each.is_open for each in producers),
            leased=len(members.holdings()),
            available=0 if waiting else self._leasing.seating.available,
            waiting=waiting,
            draining=draining,
            requests=granted + timed_out + refused + waiting,
            granted=granted,
            warm=counts.warm,
            queued=counts.queued,
            wait_ms=counts.wait_s * 1000,
            timed_out=timed_out,
            refused=refused,
            usage_ms=counts.usage_s * 1000,
            replaced=members.replaced,
            leaked=counts.leaked,
            **totals._asdict(),
        )

    def slots(self) -> tuple[PoolSlot, ...]:
        """The slots by index. Never blocks, opens nothing. Thread-safe."""
        check()
        settings = self._members.settings
        return tuple(
            PoolSlot(
                slot.index,
                settings.producer_id_of(slot.index),
                settings.transactional_id_of(slot.index),
                _status_of(slot),
                len(holders),
                tuple(holders),
                slot.error,
            )
            for slot in self._members.present
            for holders in [[each.shown() for each in slot.holdings()]]
        )

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._members.settings.name

    @property
    def size(self) -> int:
        """How many producers there are at most, as set now."""
        return self._members.settings.size

    @property
    def client_limit(self) -> int:
        """Leases of one producer at a time."""
        return self._members.settings.client_limit

    @property
    def min_connected(self) -> int:
        """How many slots stay open, as set now."""
        return self._members.settings.min_connected

    @property
    def strategy(self) -> Strategy:
        """Which free slot is leased: "pack" or "spread"."""
        return self._members.settings.strategy

    @property
    def timeout(self) -> float:
        """Seconds that `acquire()` waits at most, unless it is told."""
        return self._members.settings.timeout

    @property
    def max_waiting(self) -> int | None:
        """How many callers may wait; None: no limit."""
        return self._members.settings.max_waiting

    @property
    def config(self) -> PoolConfig:
        """The configuration, as set now: a `Config`, or the callable."""
        return self._members.settings.source

    @property
    def monitor(self) -> Monitor:
        """Receives the events of the pool and of all its producers."""
        return self._members.monitor

    @property
    def closed(self) -> bool:
        """Whether `close()` has begun."""
        return self._members.closed

    def __dir__(self) -> list[str]:
        return dir(type(self))

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        members = self._members
        made = [slot.producer for slot in members.slots]
        connected = sum(each.is_open for each in made if each is not None)
        figures = (
            f"size={self.size} connected={connected} leased={len(members.holdings())} "
            f"waiting={len(self._leasing.line)}"
        )
        state = " closed" if self.closed else ""
        return f"<ProducerPool {self.name!r} {figures}{state}>"


_BUSIEST_FIRST = (
    Status.CONNECTED,
    Status.CONNECTING,
    Status.DISCONNECTING,
    Status.DISCONNECTED,
    Status.CONFIGURED,
    Status.CLOSING,
    Status.CLOSED,
)


def _status_of(slot: Slot) -> Status:
    producer = slot.producer  # once: another thread may take it out
    return Status.CONFIGURED if producer is None else producer.status
