"""`close()` of a pool: bounded, once, with a report of every message."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import background, clock, threads
from waterdrop_py._engine.concurrency.call_queue import SLOW, CallQueue
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.native import caller_id
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py._engine.shutdown.close import combined
from waterdrop_py.pools._endings import Endings
from waterdrop_py.pools._owners import cannot_release
from waterdrop_py.pools.stats import PoolReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waterdrop_py._engine.reports.accounting import DrainReport
    from waterdrop_py.pools._emitter import PoolEmitter
    from waterdrop_py.pools._leasing import Leasing
    from waterdrop_py.pools._producer import PoolProducer
    from waterdrop_py.typing import LeaseHolder

ONLY: Final = 0
GRACE: Final = 0.5
"""Seconds beyond its bound that a close may take."""
_TICK: Final = 0.05


def begin_close(
    leasing: Leasing,
    emitter: PoolEmitter,
    closes: dict[int, PoolClose],
    bound: float,
    *,
    closer: object,
    force: bool,
) -> Callable[[], PoolReport]:
    """Close the pool within `bound` seconds; see `ProducerPool.close`.

    No lease is granted any more. What is returned waits for the end. `closer` is the
    thread or task that closes: its own leases are not waited for. `closes` has the one
    close of the pool, at ONLY: one atomic `dict.setdefault`.
    """
    deadline = clock.system_now() + bound
    close = closes.setdefault(ONLY, PoolClose(leasing, emitter, deadline, closer))
    leasing.members.closed = True
    leasing.on_return = close.returned
    close.shorten(deadline, force=force)
    return partial(close.wait, clock.system_now() if force else deadline)


class PoolClose:
    """The close of one pool, which one library thread runs. Thread-safe."""

    def __init__(
        self, leasing: Leasing, emitter: PoolEmitter, deadline: float, closer: object
    ) -> None:
        """Only what it knows; see `begin_close`."""
        self._leasing = leasing
        self._emitter = emitter
        self._deadline = deadline
        self._closer = closer
        self._returned = Wakeup()
        self._thread: int | None = None  # that runs it
        self._over = False  # nothing is waited for any more
        self._endings = Endings()
        self._closes: dict[PoolProducer, Future[DrainReport]] = {}
        self.whole: Future[PoolReport] = Future(self._run)

    def shorten(self, deadline: float, *, force: bool) -> None:
        """End no later than at `deadline`, or now: a later call has less time."""
        deadline = clock.system_now() if force else deadline
        if deadline >= self._deadline:
            return
        self._deadline = deadline
        self._returned()
        for producer, close in dict(self._closes).items():
            if close.begun and not close.done:
                left = max(0.0, deadline - clock.system_now())
                background.submit(Future(partial(producer.close, left, force=force)))

    def wait(self, deadline: float) -> PoolReport:
        """Have it run, and wait for its end until GRACE after `deadline`."""
        if self._thread == caller_id() or self._leasing.members.would_wait_here():
            if not self.whole.begun:
                background.submit(self.whole)
            return self._report(complete=self.whole.done)
        until = deadline + GRACE
        while not self.whole.done:
            if not self.whole.begun:  # also where the caller was held up till now
                if threads.can_start() and self._leasing.members.producers():
                    background.submit(self.whole)
                else:
                    self.whole()
            left = until - clock.system_now()
            if left <= 0:
                break
            self.whole.wait(min(left, _TICK) if not self.whole.begun else left)
        return self.whole.result() if self.whole.done else self._report(complete=False)

    def forked(self) -> None:
        """This is a child, where no thread continues it."""
        self.whole.resolve(PoolReport())

    def _run(self) -> PoolReport:
        began = clock.system_now()
        self._thread = caller_id()
        self._emitter.emit("pool.closing")
        self._leasing.line.wake_all()
        while not self._over:
            self._over = clock.system_now() >= self._deadline
            if not self._begin_closes():
                break
            self._returned.wait(max(0.0, self._deadline - clock.system_now()))
        self._await_closes()
        for each in list(self._closes.values()):
            each.wait(max(0.0, self._deadline + GRACE - clock.system_now()))
        report = self._report(complete=True)
        took = clock.system_now() - began
        self._emitter.emit("pool.closed", duration_ms=took * 1000)
        return report

    def _await_closes(self) -> None:
        """Wait for all until the deadline; then close what has not begun, at once."""
        for each in list(self._closes.values()):
            each.wait(max(0.0, self._deadline - clock.system_now()))
        late = [each for each in list(self._closes.values()) if not each.begun]
        self._over = bool(late) or self._over
        last = CallQueue(SLOW)
        for each in late:
            last.submit(each)

    def _begin_closes(self) -> int:
        """Close what no lease is waited for, or everything; how many are left."""
        members = self._leasing.members
        awaited = {
            holding.producer
            for holding in members.holdings()
            if not cannot_release(self._closer, holding.owner)
        }
        left = 0
        for producer in members.producers():
            if producer in self._closes:
                continue
            if producer in awaited and not self._over:
                left += 1
                continue
            close = Future(partial(self._close, producer))
            self._closes[producer] = close
            self._endings.of(producer).submit(close)
        return left

    def _close(self, producer: PoolProducer) -> DrainReport:
        bound = max(0.0, self._deadline - clock.system_now())
        return producer.close(bound, force=self._over)

    def returned(self) -> None:
        """A lease has ended."""
        self._returned()

    def _report(self, *, complete: bool) -> PoolReport:
        holders = [each.shown() for each in self._leasing.members.holdings()]
        closes = list(self._closes.values())
        reports = [each.result() for each in closes if each.done]
        return report_of(
            reports,
            holders,
            complete=complete and len(reports) == len(closes),
        )


def report_of(
    reports: Sequence[DrainReport], holders: Sequence[LeaseHolder], *, complete: bool
) -> PoolReport:
    """One report of several producers, and of the leases that are still out.

    `complete`: all producers that are closed have reported.
    """
    whole = combined(reports)
    return PoolReport(
        whole.delivered,
        whole.failed,
        whole.undelivered,
        complete and whole.complete and not holders,
        tuple(holders),
    )
