"""What `close` reports: `DrainReport`, and how outcomes are counted meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from waterdrop_py._engine.client.pending import sequence_of, was_reported
from waterdrop_py._engine.concurrency import background
from waterdrop_py.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.delivery import DeliveryHandle

FEW: Final = 1_000
"""Messages that a close gives up and whose traces end at once."""

Placed: TypeAlias = "tuple[float, Message]"
"""A message that was never sent, and its place among the numbers of sent ones."""


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What became of every message that was buffered or in flight when `close` began.

    Attributes:
        delivered: messages that the broker acknowledged.
        failed: messages that ended with an error of their own.
        undelivered: messages that were given up, in the order in which they were sent.
            One that was in flight may still have reached the broker.
        complete: the producer is closed. False when `close` was called inside one of
            its own callbacks or verbs; it then closes in the background.
    """

    delivered: int = 0
    failed: int = 0
    undelivered: list[Message] = field(default_factory=list)
    complete: bool = True


class CloseAccounting:
    """Collects outcomes while a producer closes.

    Without a lock: one thread at a time serves the reports and writes here, and one
    hands the buffer over.

    Attributes:
        lost: handles that were given up without a report. One may have been served
            meanwhile: it has an outcome, and is counted by that
            (test_a_report_that_comes_as_it_is_given_up).
        put_off: tells steps of the middleware what became of messages, after the close.
    """

    __slots__ = ("delivered", "failed", "lost", "put_off", "undelivered", "unsent")

    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0
        self.undelivered: list[DeliveryHandle] = []
        self.lost: list[DeliveryHandle] = []
        self.unsent: list[Placed] = []
        self.put_off: list[Callable[[], object]] = []

    def puts_off(self, tell: Callable[[], object]) -> bool:
        """Whether `tell` waits for the end of the close, which has a bound.

        A span takes 0.05 ms, and a close may give up 100 000 messages.
        """
        if len(self.undelivered) < FEW:
            return False
        self.put_off.append(tell)
        return True

    def tell_put_off(self) -> None:
        """Have a worker tell what was put off. Again does no harm."""
        put_off = self.put_off

        def tell_all() -> None:
            while put_off:
                put_off.pop()()

        if put_off:
            background.submit(tell_all)

    def take_back(self, delivered: int) -> None:
        """Subtract messages whose transaction was rolled back."""
        self.delivered -= delivered

    def report(self, *, complete: bool = True) -> DrainReport:
        """What was collected so far."""
        lost = (handle for handle in self.lost if not was_reported(handle))
        handles = sorted([*self.undelivered, *lost], key=sequence_of)
        messages = [handle.message for handle in handles]
        if self.unsent:
            sent = zip(map(sequence_of, handles), messages, strict=True)
            placed: list[Placed] = [*sent, *self.unsent]
            messages = [message for _, message in sorted(placed, key=_PLACE)]
        return DrainReport(self.delivered, self.failed, messages, complete)


_PLACE = itemgetter(0)
