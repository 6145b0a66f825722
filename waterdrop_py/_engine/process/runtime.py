"""What the process has one of: the registry, the poller, the reaper, the closers."""

from __future__ import annotations

import weakref
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from waterdrop_py._engine.client.client import figure
from waterdrop_py._engine.client.reachability import REACH
from waterdrop_py._engine.concurrency import clock, threads
from waterdrop_py._engine.concurrency.contained import from_signal_handler
from waterdrop_py._engine.connection.states import Status
from waterdrop_py._engine.connection.teardown import Batch
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.process.fork_guard import ForkGate
from waterdrop_py._engine.process.leak_check import SECONDARY, Leftovers
from waterdrop_py._engine.process.poller import Poller, SlowCallbackError
from waterdrop_py._engine.process.reaper import RELIEF, Reaper
from waterdrop_py._engine.process.workers import Closers
from waterdrop_py._engine.shutdown.exit_report import EXIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Life
    from waterdrop_py._engine.client.factory import Factory
    from waterdrop_py._engine.connection.connection import ClientSlot
    from waterdrop_py._engine.connection.teardown import Ending
    from waterdrop_py._engine.process.reaper import Reapable
    from waterdrop_py._engine.reports.handler import ReportDesk

LATE: Final = 0.1
"""Seconds after which a batch is told of without its stragglers."""
MEASURED: Final = 50
"""Live clients up to which the process is counted before and after a batch. One count
takes about 0.1 ms for each, and the closes wait for it: with 100 due together the
last was closed 8 to 102 ms after the deadline without it, 75 to 349 ms with it."""
END: Final = 0.5
"""Seconds that the exit waits for the library's threads, which end within milliseconds
unless user code or a close that hangs holds one up."""
REST: Final = 0.1
"""Seconds that the last `close()` waits for them."""
HELD_UP: Final = 0.02
"""Seconds of one job after which it does not wait for its thread."""


class _SlotReference(weakref.ref["ClientSlot"]):
    """A weak reference to a slot, and the key that the registry has it by."""

    __slots__ = ("key",)
    key: int


class Engine:
    """The parts that all producers of a process share. Thread-safe, no lock.

    The registry keeps `id -> weakref`: a WeakSet that a fork caught in the middle
    of an iteration would never purge again.
    """

    def __init__(self) -> None:
        self.reset()
        LOG.submit = self._submit
        LOG.wake = self._wake_poller
        clock.on_jump(self._wake_reaper)

    def reset(self) -> None:
        """Start afresh, with nothing running: at import, and in a forked child."""
        LOG.reset()
        REACH.reset()
        EXIT.reset()
        self._slots: dict[int, _SlotReference] = {}
        self._gone = self._forget_slot  # one for all: a closure each takes 0.2 KB
        self._traffic = count()
        # A dict for its O(1) removal: a thousand closes may be in progress at once.
        self.endings: dict[Ending, None] = {}
        self._batches: list[tuple[Batch, float]] = []
        self._next_look = 0.0
        # The exit handler has run: finalizers have nothing left to do.
        self.ended = False
        self.gate = ForkGate()
        self.leftovers = Leftovers(self)
        self.closers = Closers(self._run_on_poller)
        self.poller = Poller(self._report_slow, self._every_second, LOG.wanted)
        self.reaper = Reaper(self._reap, self._tend)

    def _submit(self, job: Callable[[], None]) -> None:
        self.closers.submit(job)

    def _wake_poller(self) -> None:
        self.poller.do(_nothing)

    def end(self) -> None:
        """Every producer is closed, and the process ends: so do the threads."""
        self.ended = True
        self.leftovers.end()
        self._rest()
        threads.end(END)

    @property
    def without_threads(self) -> bool:
        """Whether what is sent is delivered then and there, for lack of a thread."""
        return threads.forbidden()

    def rest(self) -> None:
        """A producer was closed: with the last one the threads end, at once.

        A sub-interpreter can only be ended without them: there it blocks for at most
        END, and what the log holds back is said now. Else it blocks for at most REST,
        and not for what holds a thread up, nor for one that stays for the log.
        """
        if self.ended or any(slot.status is not Status.CLOSED for slot in self.slots()):
            return
        if SECONDARY:
            LOG.flush()
        self._rest()
        if SECONDARY:
            threads.wait(END, lambda: False)
        else:
            threads.wait(REST, lambda: LOG.wanted() or self.closers.held_up(HELD_UP))

    def _rest(self) -> None:
        for part in (self.reaper, self.poller, self.closers):
            part.rest()

    def _wake_reaper(self) -> None:
        self.reaper.wake()  # the present one: a forked child has another

    # -- the registry ------------------------------------------------------

    def register(self, slot: ClientSlot) -> None:
        """Know a slot from its first open on."""
        key, slots = id(slot), self._slots
        if key not in slots:
            reference = _SlotReference(slot, self._gone)
            reference.key = key
            slots[key] = reference

    def _forget_slot(self, reference: _SlotReference) -> None:
        self._slots.pop(reference.key, None)

    def slots(self) -> list[ClientSlot]:
        """Every slot alive that has ever opened a client."""
        alive = [reference() for reference in list(self._slots.values())]
        return [slot for slot in alive if slot is not None]

    def refresh(self) -> None:
        """Somebody subscribed to the shared monitor, or left it."""
        for slot in self.slots():
            slot.refresh()

    def holds_clients(self) -> bool:
        """Whether any producer of the library has a client that is not destroyed, or
        is just getting one."""
        return self.gate.opening or any(slot.lives() for slot in self.slots())

    # -- closes ------------------------------------------------------------

    def note_traffic(self) -> None:
        """A client is opened or closed: a measurement in progress is void."""
        next(self._traffic)

    def traffic(self) -> int:
        """How often that was so far."""
        return figure(self._traffic)

    def batch(self, slots: list[ClientSlot], *, silent: bool = False) -> Batch:
        """Clients that are about to be closed together."""
        heard = any(slot.emitter.listens("producer.disconnected") for slot in slots)
        few = len(self._slots) <= MEASURED
        return Batch(self, len(slots), measure=heard and few, silent=silent)

    def open(self, factory: Factory, life: Life, reports: ReportDesk) -> None:
        """Construct a client, at no moment at which another thread forks."""
        self.gate.enter()
        try:
            factory.open(life, reports)
        finally:
            self.gate.leave(life)

    def _run_on_poller(self, job: Callable[[], None]) -> None:
        self.poller.do(job)

    def forget(self, ending: Ending) -> None:
        """A close has ended."""
        self.endings.pop(ending, None)

    def _every_second(self, lives: set[Life]) -> None:
        """Say what is to be said of clients and of held lines. On the poller."""
        now = clock.system_now()
        for job in (*REACH.look(lives, now), *EXIT.look(now)):
            self.closers.submit(job)
        LOG.speak()

    def _reap(self, due: list[Reapable]) -> None:
        slots = cast("list[ClientSlot]", due)  # the reaper knows what it was given
        batch = self.batch(slots)
        self._batches.append((batch, clock.system_now()))
        for slot in slots:
            self.closers.submit(_Reap(slot, batch))

    def _tend(self) -> bool:
        """Look after closes in progress; whether there are any. On the reaper."""
        self.closers.relieve()
        now = clock.system_now()
        # The reaper wakes for each client that closes. Looking at all that close every
        # time, it took 0.18 to 0.28 s for a thousand; now 0.07 to 0.1 s
        # (test_closes_in_progress_are_looked_at_now_and_then).
        if now >= self._next_look:
            self._next_look = now + RELIEF
            self._look_after_closes(now)
        return bool(self._batches or self.endings) or self.closers.waiting()

    def _look_after_closes(self, now: float) -> None:
        for entry in tuple(self._batches):
            batch, since = entry
            if batch.over:
                self._batches.remove(entry)
            elif now - since > LATE and not batch.late:
                self.closers.submit(batch.announce)
        for ending in tuple(self.endings):
            ending.nudge()
            if now - ending.started > ending.slot.close_timeout:
                self.closers.submit(ending.abandon)

    def _report_slow(self, life: Life) -> None:
        error = SlowCallbackError(
            "a callback or subscriber held the thread that serves delivery reports"
        )
        self.closers.submit(lambda: life.reports.poller_slow(error))


def _nothing() -> None:
    """The poller wakes, and sees by itself what it has to do."""


class _Reap:
    """A due slot's turn on a closer thread."""

    __slots__ = ("_batch", "_slot")

    def __init__(self, slot: ClientSlot, batch: Batch) -> None:
        self._slot = slot
        self._batch = batch

    def __call__(self) -> None:
        try:
            self._slot.reap(self._batch)
        except Exception as error:
            if from_signal_handler(error):
                raise
            self._slot.emitter.error("producer.disconnect.error", error)


ENGINE: Final = Engine()
