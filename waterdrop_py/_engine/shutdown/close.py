"""The bounded end of a producer."""

from __future__ import annotations

import warnings
from threading import get_ident
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.borrow_marks import leases
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.pause import pause
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.concurrency.wakeup import Bell
from waterdrop_py._engine.connection.teardown import INSIDE, Ending
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.reports import flush
from waterdrop_py._engine.reports.accounting import DrainReport
from waterdrop_py._engine.reports.giving_up import give_up
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Life
    from waterdrop_py._engine.connection.connection import ClientSlot

GRACE: Final = 0.25
"""Seconds, after the bound, for the reports of what was purged; and as much again
for the native close: `close` returns within its timeout + 0.5 s."""
PER_MESSAGE: Final = 0.000_005
"""Seconds more for each message beyond FREE: each one's report is served."""
FREE: Final = 100_000
GIVEN_UP: Final = 0.000_012
"""Seconds that a message costs which is purged and accounted for: 4 us for the purge
and its report and 3 us for its place in the `DrainReport`, measured on an idle machine,
and as much again for a busy one."""
_LONGEST_WAIT: Final = 60.0
"""Seconds of one wait: a signal handler that raises may keep a bell from ringing."""


def begin(slot: ClientSlot, timeout: float, *, force: bool = False) -> None:
    """Hand the buffer over, and refuse senders from then on.

    `close` does the rest, by the same deadline; and all of it, when this thread is
    inside a call that has to end first.
    """
    if slot.closing is None and not _inside(slot):
        deadline = clock.system_now() + timeout
        _hand_over(slot, deadline, force=force)
        slot.begin_closing(deadline)


def _hand_over(slot: ClientSlot, deadline: float, *, force: bool) -> None:
    """One thread hands over, and the others that close wait for it: were senders
    refused meanwhile, so would be the rest of the buffer
    (test_a_buffer_at_the_end_of_a_process)."""
    if slot.before_close is None:
        return
    drain = slot.reports.start_drain()
    slot.refresh()
    try:
        drain.right.pop()
    except IndexError:
        while not force and drain.runner is not None and clock.system_now() < deadline:
            pause(INSIDE)
        return
    try:
        drain.runner = get_ident()
        drain.unsent += slot.before_close(deadline, force=force)
    finally:
        drain.runner = None
        drain.right.append(None)


def close(slot: ClientSlot, timeout: float, *, force: bool) -> DrainReport:
    """Close the producer of `slot`; see `Producer.close`."""
    deadline = clock.system_now() + timeout
    if slot.closing is None:
        if _inside(slot):
            _close_elsewhere(slot, timeout, force=force)
            return DrainReport(complete=False)
        _hand_over(slot, deadline, force=force)
    closing = slot.closing or slot.begin_closing(deadline)
    if closing is None:
        # This thread, or one that takes longer than `timeout`, is opening the
        # client: whoever it is goes on with the close when that has ended.
        slot.when_free(lambda: _close_elsewhere(slot, timeout, force=force))
        return DrainReport(complete=False)
    closing.hurry(clock.system_now() if force else deadline)
    if closing.must_not_wait():
        slot.engine.closers.submit(lambda: closing.go_on(force=force))
        return closing.progress()
    if closing.run(force=force):
        return closing.progress()
    return closing.wait(deadline + 2 * GRACE)


def combined(reports: list[DrainReport]) -> DrainReport:
    """One report of a producer and its variants."""
    return DrainReport(
        sum(report.delivered for report in reports),
        sum(report.failed for report in reports),
        [message for report in reports for message in report.undelivered],
        all(report.complete for report in reports),
    )


def _inside(slot: ClientSlot) -> bool:
    """Whether this thread is inside a callback or a step of the slot's own."""
    life, drain = slot.life, slot.reports.drain
    within = slot.inside is not None and slot.inside()
    if drain is not None and drain.runner == get_ident():
        return True  # it interrupted the hand-over of the buffer
    return within or slot.mine or life.held_here() or leases(life) > 0


def abandon(slot: ClientSlot) -> None:
    """The producer of `slot` was dropped without a close: deliver, then close.

    Called by a finalizer, which may run anywhere: it only hands over.
    """
    check()
    life = slot.ledger.book[1]
    held = sum(refusal.count for hold in slot.holds if (refusal := hold()) is not None)
    if slot.closing is not None or (life is None and not held):
        return
    left = held + (0 if life is None else life.in_flight())
    _close_elsewhere(slot, slot.close_timeout, force=False)
    if left:
        warnings.warn(
            f"producer {slot.emitter.producer_id!r} was dropped without close() while "
            f"{left} messages were on their way; they are delivered in the background",
            ResourceWarning,
            stacklevel=3,
        )


def _close_elsewhere(slot: ClientSlot, timeout: float, *, force: bool) -> None:
    me = get_ident()

    def job() -> None:
        # When no thread can be started it is run here, inside of the very call that has
        # to end first: it waits for the next one (test_a_close_without_any_thread).
        if get_ident() == me and _inside(slot):
            slot.engine.poller.armed.put(job)
        else:
            close(slot, timeout, force=force)

    slot.engine.closers.submit(job)


class Closing:
    """A close in progress, of which there is one per producer.

    `_right.pop` decides which thread does it; it is given back when a Ctrl-C
    interrupts that thread, and a closer goes on.
    """

    def __init__(self, slot: ClientSlot, life: Life | None, deadline: float) -> None:
        self._slot = slot
        self._life = life
        self._deadline = deadline
        self._started = clock.system_now()
        self._drain = slot.reports.start_drain()
        self._right: list[None] = [None]
        self._runner: int | None = None
        self._announced = False
        self._ending: Ending | None = None
        self._report: DrainReport | None = None
        self._bells: list[Bell] = []
        if life is not None:
            life.plain = False

    def must_not_wait(self) -> bool:
        """Whether the close would wait for the very call that it interrupted."""
        life, retiring = self._life, self._slot.retiring
        me = get_ident()
        if retiring is not None:
            retiring.nudge()
            if retiring.thread == me or retiring.life.held_here():
                return True
        if self._report is not None:
            return False
        if self._runner == me:
            return True  # a subscriber of an event of this very close
        if life is None:
            return False
        pinned = any(pin.thread == me for pin in tuple(life.pins))
        return life.held_here() or pinned or leases(life) > 0

    def progress(self) -> DrainReport:
        """What is known so far; the whole report once the producer is closed."""
        return self._report or self._drain.report(complete=False)

    def wait(self, deadline: float) -> DrainReport:
        """Wait for the thread that closes, but not beyond `deadline`."""
        bell = Bell()
        self._bells.append(bell)
        while self._report is None and (left := deadline - clock.system_now()) > 0:
            bell.wait(min(left, _LONGEST_WAIT))
        return self.progress()

    def run(self, *, force: bool) -> bool:
        """Close, here and now; False when another thread does or did."""
        try:
            self._right.pop()
        except IndexError:
            return False
        try:
            self._runner = get_ident()
            self._close(force=force)
        except BaseException:
            if self._report is None:
                self._runner = None  # else its next close() would not wait
                self._right.append(None)
                self._slot.engine.closers.submit(lambda: self.go_on(force=force))
            raise
        return True

    def go_on(self, *, force: bool) -> None:
        """`run` on a closer thread, where nobody waits for an answer."""
        self.run(force=force)

    def _close(self, *, force: bool) -> None:
        slot, emitter = self._slot, self._slot.emitter
        if not self._announced:
            self._announced = True
            emitter.emit("producer.closing")
        if slot.before_close is not None:
            # Who was about to append as the senders were refused has done so by now,
            # or looks again (test_a_message_buffered_as_the_producer_closes).
            now = clock.system_now()
            self._drain.unsent += slot.before_close(now, force=True)
        if self._life is not None:
            if not force:
                self._flush(self._life)
            self._give_up_the_rest(self._life)
            self._destroy(self._life)
        retiring = slot.retiring
        if retiring is not None:
            retiring.wait(max(0.0, self._deadline - clock.system_now()) + GRACE)
        slot.finish_closing()
        self._report = self._drain.report()
        self._log_what_was_given_up(self._report)
        took_ms = (clock.system_now() - self._started) * 1000
        try:
            emitter.emit("producer.closed", duration_ms=took_ms)
        finally:
            for bell in tuple(self._bells):
                bell()

    def _log_what_was_given_up(self, report: DrainReport) -> None:
        """One line for all, where no function of the user's hears of each message."""
        emitter = self._slot.emitter
        said = self._slot.reports.exiting or emitter.listens("error.occurred")
        if report.undelivered and not said:
            error = ProduceError(
                "given up by the close of the producer, at its bound (purge_queue)",
                code="purge_queue",
            )
            about = {"messages": report.undelivered}
            LOG.error(emitter, "librdkafka.dispatch_error", error, about)

    def hurry(self, deadline: float) -> None:
        """A later `close` has less time, or none: nobody waits any longer than that."""
        self._deadline = min(self._deadline, deadline)

    def _flush(self, life: Life) -> None:
        # What is left is purged afterwards, and each of its reports takes time.
        reserve = max(0.0, min(FREE, life.in_flight()) * GIVEN_UP - GRACE)

        def over() -> bool:
            late = clock.system_now() >= self._deadline - reserve
            return late or _nothing_left(life)

        push = self._slot.factory.lingers
        flush.wait_until(life, over, self._deadline - reserve, push=push)

    def _give_up_the_rest(self, life: Life) -> None:
        if _nothing_left(life):
            return
        left = life.in_flight()
        grace = GRACE + max(0, left - FREE) * PER_MESSAGE
        deadline = max(self._deadline, clock.system_now()) + grace
        self._drain.undelivered += give_up(life, deadline)
        waiting.wait_turn(life, lambda: _nothing_left(life), deadline, idle=0.01)

    def _destroy(self, life: Life) -> None:
        slot, ending = self._slot, self._ending
        if ending is None:
            ending = self._ending = Ending(slot, life, "close")
            slot.ledger.closed(life, "close")
            try:
                slot.emitter.emit("producer.disconnecting", {"reason": "close"})
            finally:
                self._begin(ending)
        ending.wait(max(0.0, self._deadline - clock.system_now()) + GRACE)
        self._life = None
        slot.reports.drain = None

    def _begin(self, ending: Ending) -> None:
        life, closers = ending.life, self._slot.engine.closers
        if life.pins:
            # Somebody is inside `native()` beyond the bound, and must not find the
            # client destroyed: it is when they leave.
            life.on_unpinned = lambda: closers.submit(ending.run)
        else:
            ending.begin()


def _nothing_left(life: Life) -> bool:
    return not (life.inuse or life.pins or life.in_flight() or life.theirs())
