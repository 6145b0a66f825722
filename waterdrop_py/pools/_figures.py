"""What a pool says of itself: its settings, figures and slots."""

from __future__ import annotations

from typing import Any

from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._settings.answering import Answering
from waterdrop_py._settings.foreign_names import POOL
from waterdrop_py.monitor import Monitor
from waterdrop_py.pools._leasing import Leasing
from waterdrop_py.pools._members import Members
from waterdrop_py.pools._settings import PoolConfig, Strategy
from waterdrop_py.pools._slot import Slot
from waterdrop_py.pools.stats import PoolSlot, PoolStats


class PoolFigures(metaclass=Answering, answers=POOL):
    """A base class of `ProducerPool` and `AsyncProducerPool`. Nothing here blocks or
    opens a client."""

    __slots__ = ("__weakref__", "_leasing", "_members")

    # `Any`: a user's type checker need not know the parts.
    def __init__(self, leasing: Any) -> None:
        self._leasing: Leasing = leasing
        self._members: Members = leasing.members

    def stats(self) -> PoolStats:
        """The figures of the pool now. Never blocks, opens nothing. Thread-safe.

        Example:
            >>> with pool.acquire() as producer:
            ...     pool.stats().leased, pool.stats().available
            (1, 9)
        """
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
        """The slots by index. Never blocks, opens nothing. Thread-safe.

        Example:
            >>> with pool.acquire() as producer:
            ...     [slot.index for slot in pool.slots() if slot.leases]
            [0]
        """
        check()
        settings = self._members.settings
        return tuple(
            PoolSlot(
                slot.index,
                settings.producer_id_of(slot.index),
                settings.transactional_id_of(slot.index),
                status_of(slot),
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
        """How many leases one producer has at a time at most."""
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
        """Receives the events of the pool and of all its producers, later ones too."""
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
        return f"<{type(self).__name__} {self.name!r} {figures}{state}>"


def status_of(slot: Slot) -> Status:
    """That of its producer."""
    producer = slot.producer  # once: another thread may take it out
    return Status.CONFIGURED if producer is None else producer.status
