"""How many messages a client was given, and how many have their outcome."""

from __future__ import annotations

from itertools import count

from waterdrop_py._engine.concurrency.counter import peek


class MessageCounters:
    """The messages of one client, counted without a lock.

    Senders take a number from `sent` before they produce, and count what librdkafka
    did not take in `refused`. The thread that serves the reports counts outcomes, one
    thread at a time.

    Attributes:
        sent: numbers the messages; `refused` counts those that were not taken.
        acknowledged: messages that were delivered; `failed`, those that were not.
        counters_uncertain: an exception came out of a native call, so a number may
            belong to no message.
        given_up: why every handle that is still open will never get a report.
    """

    __slots__ = (
        "acknowledged",
        "counters_uncertain",
        "failed",
        "given_up",
        "refused",
        "sent",
    )

    def __init__(self) -> None:
        self.sent = count()
        self.refused = count()
        self.acknowledged = self.failed = 0
        self.counters_uncertain = False
        self.given_up: BaseException | None = None

    def accepted(self) -> int:
        """Messages that the client accepted so far, and no fewer.

        What lowers it is read first: a send between the two reads may count as one
        too many, never hide another one.
        """
        refused = peek(self.refused)
        return peek(self.sent) - refused

    def in_flight(self) -> int:
        """Messages without an outcome, and no fewer; see `accepted`."""
        if self.given_up is not None:
            return 0
        outcomes = self.acknowledged + self.failed
        return max(0, self.accepted() - outcomes)

    def give_up(self, error: BaseException) -> None:
        """Every handle without an outcome gets `error`; the first one stays."""
        if self.given_up is None:
            self.given_up = error

    def count_off(self, numbered: int) -> None:
        """Count the numbers below `numbered` without an outcome as refused."""
        known = peek(self.refused) + self.acknowledged + self.failed
        for _ in range(numbered - known):
            next(self.refused)
