"""`stats()`: figures since the producer was made; and the answer of `health()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.states import Status

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.connection import Connection


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """Figures since the producer was made; they survive every reconnect.

    A copy of plain values, which `dataclasses.asdict` and pickle accept.

    Attributes:
        opens: clients opened.
        disconnects: clients closed, by the reason of `producer.disconnected`.
        produced: messages that librdkafka accepted.
        acknowledged: of those, delivered.
        failed: of those, ended with an error.
        in_flight: of those, still without an outcome.
        buffered: messages in the buffer, which no other figure counts.
        connected_ms: milliseconds with an open client.
        idle_ms_saved: milliseconds without a client since the first was closed.
        reopen_ms: milliseconds that the last re-open took; None before the first.
        variants: the figures of each variant with a client of its own, by its
            `topic_config` as text.
    """

    opens: int
    disconnects: Mapping[str, int]
    produced: int
    acknowledged: int
    failed: int
    in_flight: int
    buffered: int
    connected_ms: float
    idle_ms_saved: float
    reopen_ms: float | None
    variants: Mapping[str, ProducerStats]


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a producer works.

    Attributes:
        healthy: whether there is no error; an idle producer is healthy.
        status: what the producer was doing.
        deep: whether the cluster was asked.
        latency_ms: milliseconds of the metadata round trip, of a deep check.
        error: why it is not healthy, or None.
    """

    healthy: bool
    status: Status
    deep: bool
    latency_ms: float | None
    error: BaseException | None


def read_stats(
    connection: Connection,
    *,
    buffered: int = 0,
    variants: Mapping[str, ProducerStats] | None = None,
) -> ProducerStats:
    """The figures of `connection`, without a lock."""
    check()
    ledger = connection.ledger
    totals, client = ledger.book
    taken = acknowledged = failed = 0
    connected = totals.connected_s
    if client is not None:
        acknowledged, failed, taken = (
            client.acknowledged,
            client.failed,
            client.accepted(),
        )
        connected += clock.now() - client.opened_at
    return ProducerStats(
        opens=ledger.opens,
        disconnects=dict(ledger.disconnects),
        produced=totals.produced + taken,
        acknowledged=totals.acknowledged + acknowledged,
        failed=totals.failed + failed,
        in_flight=max(0, taken - acknowledged - failed),
        buffered=buffered,
        connected_ms=connected * 1000,
        idle_ms_saved=ledger.idle_ms_saved(),
        reopen_ms=ledger.reopen_ms,
        variants=variants or {},
    )
