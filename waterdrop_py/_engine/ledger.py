"""Figures of a producer that outlive its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from waterdrop_py._engine import clock

if TYPE_CHECKING:
    from waterdrop_py._engine.life import Life


class Totals(NamedTuple):
    """What the closed clients add up to. Replaced as a whole, so read as a whole."""

    produced: int = 0
    acknowledged: int = 0
    failed: int = 0
    connected_s: float = 0.0


class Ledger:
    """Counts opens and closes. Written by the holder of the slot's claim only, and
    read without a lock: `book` pairs the totals with the client that is not in them
    yet, and is replaced as a whole, so that no reader counts a message twice."""

    __slots__ = ("book", "closed_at", "disconnects", "idle_s", "opens", "reopen_ms")

    def __init__(self) -> None:
        self.opens = 0
        self.disconnects: dict[str, int] = {}
        self.reopen_ms: float | None = None
        self.book: tuple[Totals, Life | None] = (Totals(), None)
        self.idle_s = 0.0
        self.closed_at: float | None = None

    def opened(self, life: Life, took_ms: float) -> None:
        """A client was opened."""
        now = life.opened_at
        self.book = (self.book[0], life)
        if self.closed_at is not None:
            self.idle_s += max(0.0, now - self.closed_at)
            self.closed_at = None
        if self.opens:
            self.reopen_ms = took_ms
        self.opens += 1

    def closed(self, life: Life, reason: str) -> None:
        """A client was let go of; what it did is kept."""
        now = clock.now()
        produced, acknowledged, failed, connected_s = self.book[0]
        taken = life.taken()
        totals = Totals(
            produced + taken,
            acknowledged + life.acknowledged,
            failed + taken - life.acknowledged,
            connected_s + now - life.opened_at,
        )
        self.book = (totals, None)
        self.disconnects = {
            **self.disconnects,
            reason: self.disconnects.get(reason, 0) + 1,
        }
        self.closed_at = now

    def idle_ms_saved(self) -> float:
        """Milliseconds without a client since the first one was closed."""
        open_end = 0.0 if self.closed_at is None else clock.now() - self.closed_at
        return (self.idle_s + open_end) * 1000
