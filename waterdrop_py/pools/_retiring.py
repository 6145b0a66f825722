"""Producers that a pool replaces: each is drained, closed, and still counted."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._settings.defaults import message_timeout_ms
from waterdrop_py.pools._endings import Endings
from waterdrop_py.pools.stats import Totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.concurrency.call_queue import CallQueue
    from waterdrop_py._engine.reports.accounting import DrainReport
    from waterdrop_py.pools._producer import PoolProducer
    from waterdrop_py.pools._slot import Slot

SLACK: Final = 1.0
"""Seconds beyond `message.timeout.ms` within which librdkafka reports a message."""
FOREVER: Final = 86_400.0
"""Seconds that a producer is drained whose messages have no timeout."""


class Retired:
    """A producer that no new lease gets. It is closed once its last lease has ended.

    Attributes:
        slot: the slot that it was in.
        producer: the producer.
        end: closes it, once, on a library thread.
        closed: it is closed.
        counted: and its figures are in the `totals`.
    """

    __slots__ = (
        "_endings",
        "_on_end",
        "_queue",
        "closed",
        "counted",
        "end",
        "producer",
        "slot",
    )

    def __init__(
        self,
        slot: Slot,
        producer: PoolProducer,
        endings: Endings,
        on_end: Callable[[Retired], None],
    ) -> None:
        """`on_end` is held weakly: a bound method of what lives with the pool."""
        self.slot = slot
        self.producer = producer
        self._endings = endings
        self.closed = self.counted = False
        self._queue: CallQueue | None = None  # which has been told to close it
        self.end: Future[DrainReport] = Future(self._close)
        self._on_end = weakref.WeakMethod(on_end)

    def begin(self) -> None:
        """Have a library thread drain and close it, once. Does not wait.

        Nothing is given up before librdkafka has given it up. One that waits behind
        others, and has delivered meanwhile, is closed at the next call.
        """
        if self.end.begun:
            return
        queue = self._endings.of(self.producer)
        if queue is self._queue:
            queue.look_again()
        else:
            queue.submit(self.end)
            self._queue = queue

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether it is closed."""
        return self.end.wait(timeout)

    def _close(self) -> DrainReport:
        timeout_ms = message_timeout_ms(self.producer.config.kafka)
        bound = timeout_ms / 1000 + SLACK if timeout_ms else FOREVER
        try:
            return self.producer.close(bound)
        finally:
            self.closed = True
            told = self._on_end()
            if told is not None:
                told(self)


class History:
    """The producers that a pool had, other than those in its slots. Without a lock.

    Each change replaces one attribute, so a reader sees a producer either among the
    `retired` or in the `totals`, and once.

    Attributes:
        endings: closes them.
    """

    __slots__ = ("_now", "endings")

    def __init__(self) -> None:
        self.endings = Endings()
        self._now: tuple[Totals, tuple[Retired, ...]] = (Totals(), ())

    @property
    def now(self) -> tuple[Totals, tuple[Retired, ...]]:
        """The sums of those that are closed, and those that are not."""
        return self._now

    @property
    def retired(self) -> tuple[Retired, ...]:
        """Those that are not closed yet."""
        return self._now[1]

    def add(self, retired: Retired) -> None:
        """One more is retired. Again does no harm.

        1. A thread retires a producer.
        2. Before it calls this, another thread retires it too, and it is closed.
        3. This adds it, finds that it is closed, and takes it out.
        (test_two_that_retire_a_producer)
        """
        while True:
            before = self._now
            if retired in before[1]:
                return
            after = (before[0], (*before[1], retired))
            # No call between the comparison and the assignment, so no other thread.
            if retired.counted:
                return
            if self._now is before:
                self._now = after
                break
        if retired.closed:
            self.ended(retired)

    def ended(self, retired: Retired) -> None:
        """It is closed: keep its figures only."""
        stats = retired.producer.stats()
        while True:
            before = self._now
            if retired not in before[1]:
                return
            left = tuple([each for each in before[1] if each is not retired])
            after = (before[0].plus(stats), left)
            if self._now is before:
                self._now = after
                retired.counted = True
                return
