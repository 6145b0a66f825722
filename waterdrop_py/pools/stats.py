"""What a pool says of itself: `PoolStats`, `PoolSlot` and `PoolReport`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from waterdrop_py._engine.connection.states import Status
from waterdrop_py._engine.introspection.stats import ProducerStats
from waterdrop_py._engine.reports.accounting import DrainReport
from waterdrop_py.errors import ProduceError
from waterdrop_py.message import Message
from waterdrop_py.typing import LeaseHolder


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Figures of a pool. A copy of plain values, which `dataclasses.asdict` accepts.

    `requests == granted + timed_out + refused + waiting`.

    Attributes:
        size: how many producers there are at most, as set.
        min_connected: slots that stay open, as set.
        client_limit: leases of one producer at a time, as set.
        connected: open producers now.
        leased: leases that are out now.
        available: leases that would be granted at once.
        waiting: callers that wait for a lease.
        draining: retired producers that are not closed yet.
        requests: calls of `acquire()` in all.
        granted: of those, that got a lease.
        warm: of those, that got it on an open client.
        queued: requests that had to wait.
        wait_ms: milliseconds that requests waited in all.
        timed_out: requests that were not granted in time.
        refused: requests that were refused, interrupted, or ended by `close()`.
        usage_ms: milliseconds of all leases that have ended.
        replaced: producers that were replaced after a fatal error.
        leaked: leases that were collected unreleased.
        opens: clients opened; this and what follows is the sum over every producer that
            the pool ever had, its variants included.
        disconnects: clients closed.
        produced: messages that librdkafka accepted.
        acknowledged: of those, delivered.
        failed: of those, ended with an error.
        in_flight: of those, still without an outcome.
        buffered: messages in buffers.
        connected_ms: milliseconds with an open client.
        idle_ms_saved: milliseconds without a client since the first was closed.
    """

    size: int
    min_connected: int
    client_limit: int
    connected: int
    leased: int
    available: int
    waiting: int
    draining: int
    requests: int
    granted: int
    warm: int
    queued: int
    wait_ms: float
    timed_out: int
    refused: int
    usage_ms: float
    replaced: int
    leaked: int
    opens: int
    disconnects: int
    produced: int
    acknowledged: int
    failed: int
    in_flight: int
    buffered: int
    connected_ms: float
    idle_ms_saved: float


@dataclass(frozen=True, slots=True)
class PoolSlot:
    """One slot of a pool.

    Attributes:
        index: its number, from 0 on.
        producer_id: the id of its producer, in events and logs.
        transactional_id: its `transactional.id`, or None.
        status: what the producer is doing; CONFIGURED before it is made.
        leases: how many are out.
        holders: the holders of these leases.
        error: the fatal error that took the slot out of service, or None.
    """

    index: int
    producer_id: str
    transactional_id: str | None
    status: Status
    leases: int
    holders: tuple[LeaseHolder, ...]
    error: ProduceError | None


@dataclass(frozen=True, slots=True)
class PoolReport(DrainReport):
    """What became of the messages of all producers when their pool was closed.

    Attributes:
        undelivered: messages that were given up, by producer.
        holders: the holders of leases that were still out. With any, `complete` is
            False.
    """

    undelivered: list[Message] = field(default_factory=list)
    holders: tuple[LeaseHolder, ...] = field(default=())


class Totals(NamedTuple):
    """Sums of `ProducerStats`; each variant with a client of its own counts too."""

    opens: int = 0
    disconnects: int = 0
    produced: int = 0
    acknowledged: int = 0
    failed: int = 0
    in_flight: int = 0
    buffered: int = 0
    connected_ms: float = 0.0
    idle_ms_saved: float = 0.0

    def plus(self, stats: ProducerStats) -> Totals:
        """These and those of one more producer."""
        total = Totals(
            self.opens + stats.opens,
            self.disconnects + sum(stats.disconnects.values()),
            self.produced + stats.produced,
            self.acknowledged + stats.acknowledged,
            self.failed + stats.failed,
            self.in_flight + stats.in_flight,
            self.buffered + stats.buffered,
            self.connected_ms + stats.connected_ms,
            self.idle_ms_saved + stats.idle_ms_saved,
        )
        for variant in stats.variants.values():
            total = total.plus(variant)
        return total
