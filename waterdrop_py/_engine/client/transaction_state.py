"""Which transaction a client is in, as far as that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from waterdrop_py._engine.client.fatal import Registration


class TransactionState:
    """The transaction of one client. Written by the thread that has the transaction.

    Attributes:
        registration: what the client registers; None for one without transactions.
        open: a transaction was begun, and has not surely ended.
        sequence_gap: a message of a transaction was refused. librdkafka 2.16 then skips
            sequence numbers and fails the next transaction.
    """

    __slots__ = ("_begun_at", "open", "registration", "sequence_gap")

    def __init__(self) -> None:
        self.registration: Registration | None = None
        self.open = self.sequence_gap = False
        self._begun_at = 0.0

    def begin(self) -> None:
        """Note that librdkafka may be in one from now on."""
        self._begun_at = clock.now()
        self.open = True

    def end(self) -> None:
        """Note that it was committed or aborted."""
        self.open = False

    def lost_message(self) -> None:
        """Note that a message was refused, and not purged."""
        self.sequence_gap = True

    def age(self) -> float | None:
        """Seconds since it was begun; None outside of a transaction."""
        return clock.now() - self._begun_at if self.open else None
