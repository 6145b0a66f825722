"""`stats()`: figures since the producer was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.ledger import Saved
from waterdrop_py.planning import Buckets

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
        idle_ms_saved: milliseconds without a client since the first was closed, until
            `close()`.
        reopen_ms: milliseconds until the last re-open had a client; None before the
            first.
        variants: the figures of each variant with a client of its own, by its
            `topic_config` as text. No other figure counts them.
        reopens: opens after the first.
        reopen_times_ms: what each re-open took, from the use that found no client to
            the first delivery; for `connect()` to the metadata. Milliseconds. A re-open
            that served nothing has no entry.
        idle_gaps_s: each gap of a second or more between the last activity and the next
            message, `connect()` or transaction. Seconds. Whether the client was closed
            meanwhile makes no difference. The gap in progress has no entry.
        saved: for each time without a client after a disconnect, its length times what
            that disconnect released; until `close()`.
        unmeasured: disconnects that could not be measured (`released` is None). They
            count what the last measured one released: of this producer, else of any
            with the same `bootstrap.servers`, else nothing.
        idle_timeout_ms: the idle timeout in force; None: never.
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
    reopens: int
    reopen_times_ms: Buckets
    idle_gaps_s: Buckets
    saved: Saved
    unmeasured: int
    idle_timeout_ms: float | None


def read_stats(
    connection: Connection,
    *,
    buffered: int = 0,
    variants: Mapping[str, ProducerStats] | None = None,
    rising: bool = False,
) -> ProducerStats:
    """The figures of `connection`, without a lock.

    `rising`: no counter is less than it was, at the price that `produced` may count a
    message that was refused.
    """
    check()
    now = clock.now()  # before the book, see `Period`
    ledger = connection.ledger
    book = ledger.book
    totals, client, _ = book
    acknowledged, failed = totals.acknowledged, totals.failed
    produced, in_flight = totals.produced, 0
    if client is not None:
        done, lost, taken = client.acknowledged, client.failed, client.accepted()
        acknowledged += done
        failed += lost
        produced += taken
        in_flight = max(0, taken - done - lost)
    return ProducerStats(
        opens=totals.opens,
        disconnects=dict(totals.disconnects),
        produced=ledger.never_less(produced) if rising else produced,
        acknowledged=acknowledged,
        failed=failed,
        in_flight=in_flight,
        buffered=buffered,
        connected_ms=ledger.connected_s(book, now) * 1000,
        idle_ms_saved=ledger.idle_s(book, now) * 1000,
        reopen_ms=ledger.reopen_ms,
        variants=variants or {},
        reopens=max(0, totals.opens - 1),
        reopen_times_ms=ledger.tally.reopens,
        idle_gaps_s=ledger.tally.gaps,
        saved=ledger.saved(book, now),
        unmeasured=ledger.unmeasured,
        idle_timeout_ms=connection.policy.timeout_ms,
    )
