"""Figures of a producer that outlive its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client


class Totals(NamedTuple):
    """What the closed clients add up to. Replaced as a whole, so read as a whole."""

    produced: int = 0
    acknowledged: int = 0
    failed: int = 0
    connected_s: float = 0.0


class Ledger:
    """Counts opens and closes. Written with the lifecycle lock held, read without it.

    `book` pairs the totals with the client that is not in them yet. It is replaced as a
    whole, so no reader counts a message twice.
    """

    __slots__ = ("_idle", "book", "disconnects", "opens", "reopen_ms")

    def __init__(self) -> None:
        self.opens = 0
        self.disconnects: dict[str, int] = {}
        self.reopen_ms: float | None = None
        self.book: tuple[Totals, Client | None] = (Totals(), None)
        # Seconds without a client, and since when there has been none.
        self._idle: tuple[float, float | None] = (0.0, None)

    def opened(self, client: Client, took_ms: float) -> None:
        """A client was opened."""
        now = client.opened_at
        self.book = (self.book[0], client)
        idle, closed_at = self._idle
        if closed_at is not None:
            self._idle = (idle + max(0.0, now - closed_at), None)
        if self.opens:
            self.reopen_ms = took_ms
        self.opens += 1

    def closed(self, client: Client, reason: str) -> None:
        """A client was detached; add its figures to the totals."""
        now = clock.now()
        produced, acknowledged, failed, connected_s = self.book[0]
        taken = client.accepted()
        totals = Totals(
            produced + taken,
            acknowledged + client.acknowledged,
            failed + taken - client.acknowledged,
            connected_s + now - client.opened_at,
        )
        self.book = (totals, None)
        self.disconnects = {
            **self.disconnects,
            reason: self.disconnects.get(reason, 0) + 1,
        }
        self._idle = (self._idle[0], now)

    def idle_ms_saved(self) -> float:
        """Milliseconds without a client since the first one was closed."""
        idle, closed_at = self._idle  # read once: a client may open at any moment
        if closed_at is not None:
            idle += clock.now() - closed_at
        return idle * 1000
