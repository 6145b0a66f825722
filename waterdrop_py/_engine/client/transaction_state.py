"""Which transaction a client is in, as far as that is known."""

from __future__ import annotations

from waterdrop_py._engine.concurrency import clock


class TransactionState:
    """The transaction of one client. Written by the thread that has the transaction.

    Attributes:
        open: a transaction was begun, and has not surely ended.
        sequence_gap: a message of a transaction was refused. librdkafka 2.16 then skips
            sequence numbers and fails the next transaction.
    """

    __slots__ = ("_begun_at", "open", "sequence_gap")

    def __init__(self) -> None:
        self.open = self.sequence_gap = False
        self._begun_at = 0.0

    def begin(self) -> None:
        """From here on it is not known whether librdkafka is in one."""
        self._begun_at = clock.now()
        self.open = True

    def end(self) -> None:
        """It was committed or aborted."""
        self.open = False

    def lost_message(self) -> None:
        """A message was refused, and not purged."""
        self.sequence_gap = True

    def age(self) -> float | None:
        """Seconds since it was begun; None outside of a transaction."""
        return clock.now() - self._begun_at if self.open else None
