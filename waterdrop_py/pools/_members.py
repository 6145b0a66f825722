"""`Members`: the slots of a pool, and which producer each has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.side_by_side import side_by_side
from waterdrop_py.errors import ReentrantCallError
from waterdrop_py.pools._owners import thread_of
from waterdrop_py.pools._producer import PoolProducer
from waterdrop_py.pools._retiring import History, Retired
from waterdrop_py.pools._settings import derived
from waterdrop_py.pools._slot import Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.errors import ProduceError
    from waterdrop_py.monitor import Monitor
    from waterdrop_py.pools._emitter import PoolEmitter
    from waterdrop_py.pools._settings import PoolSettings
    from waterdrop_py.pools._slot import Holding
    from waterdrop_py.pools.stats import Totals


class Members:
    """The slots of one pool. Thread-safe, re-entrant, without a lock.

    `Seating` takes seats in them.

    Attributes:
        settings: as set now; replaced as a whole.
        slots: one more than `size` for each that was taken away and may come back.
        closed: no lease is granted any more.
        on_room: called when a slot can be used again.
        on_made: called with each producer, and its slot, before its first use.
        replaced: producers that were replaced after a fatal error.
    """

    __slots__ = (
        "__weakref__",
        "closed",
        "emitter",
        "history",
        "is_transactional",
        "monitor",
        "on_made",
        "on_room",
        "replaced",
        "settings",
        "slots",
    )

    def __init__(
        self, settings: PoolSettings, monitor: Monitor, emitter: PoolEmitter
    ) -> None:
        self.monitor = monitor
        self.emitter = emitter
        self.on_room: Callable[[], None] = _nothing
        self.on_made: Callable[[Slot, PoolProducer], None] | None = None
        self.closed = False
        self.replaced = 0
        self.history = History()
        self.slots: tuple[Slot, ...] = ()
        self.settings = settings
        self.use(settings)

    def use(
        self, settings: PoolSettings, instead_of: PoolSettings | None = None
    ) -> bool:
        """Have these settings from now on, and at least as many slots.

        False if the present ones are not `instead_of`, where that is given.
        """
        is_transactional = settings.is_transactional
        before = self.slots
        more = range(len(before), settings.size)
        slots = (*before, *(Slot(index) for index in more))
        # No call from here on, so no other thread changes them.
        if instead_of is not None and self.settings is not instead_of:
            return False
        if self.slots is before:
            self.slots = slots
        self.is_transactional = is_transactional
        self.settings = settings
        return True

    @property
    def present(self) -> tuple[Slot, ...]:
        """The slots that leases are granted of."""
        return self.slots[: self.settings.size]

    @property
    def lost(self) -> ProduceError | None:
        """A fatal error, if it and others have taken every slot out of service."""
        errors = [slot.error for slot in self.present]
        return None if None in errors else errors[0]

    def may_wait(self) -> bool:
        """Whether a lease may be granted later on."""
        return not self.closed and self.lost is None

    def holdings(self) -> list[Holding]:
        """The leases that are out, longest held first."""
        out = [holding for slot in self.slots for holding in slot.holdings()]
        return sorted(out, key=_taken_at)

    def producers(self) -> list[PoolProducer]:
        """Every producer that is not closed, each once: of the slots, and retired."""
        # In this order: one that is retired meanwhile is found twice, and not missed.
        found = [slot.producer for slot in self.slots]
        retired = [each.producer for each in self.history.retired]
        return list(dict.fromkeys([*(each for each in found if each), *retired]))

    def all_time(self) -> tuple[Totals, int, list[PoolProducer]]:
        """The sums of the producers that are closed, how many are retired and not
        closed, and every producer that is not closed; each producer once.

        1. This reads which are closed and which are retired.
        2. Another thread retires the producer of a slot, and it is closed.
        3. This does not find it in the slot, and begins again.
        (test_a_producer_that_retires_meanwhile_counts_once)
        """
        while True:
            now = self.history.now
            retired = [each.producer for each in now[1]]
            found = [slot.producer for slot in self.slots]
            if self.history.now is now:
                everyone = [each for each in found if each is not None]
                return now[0], len(retired), list(dict.fromkeys([*everyone, *retired]))

    def would_wait_here(self) -> bool:
        """Whether a close would wait for the call that it interrupted: for a callback
        or a verb of a producer, on the calling thread."""
        return any(each.would_wait_here() for each in self.producers())

    def busy(self) -> list[PoolProducer]:
        """The producers that have messages to deliver."""
        return [each for each in self.producers() if not each.is_gone and each.is_busy]

    def flush(self, timeout: float | None) -> int:
        """Flush all side by side; how many messages are left."""
        if self.would_wait_here():
            raise ReentrantCallError(
                f"flush() of pool {self.settings.name!r} was called inside a callback "
                "or a verb of one of its producers, and would wait for that"
            )
        until = None if timeout is None else clock.system_now() + timeout
        calls = side_by_side([partial(_flush, each, until) for each in self.busy()])
        return sum(call.result() for call in calls)

    # -- producers ---------------------------------------------------------

    def make(self, slot: Slot) -> PoolProducer:
        """A new producer for `slot`, by the settings as they are now."""
        producer = PoolProducer(
            self.settings.config_of(slot.index), self.monitor, self.settings.label
        )
        if self.on_made is not None:
            self.on_made(slot, producer)
        return producer

    def openable(self, slot: Slot) -> PoolProducer | None:
        """The producer of `slot`, made if need be; None if it must not open a client.

        1. A thread finds that it may open one in `slot`.
        2. A reload marks the slot as closing, and takes its producer out.
        3. The thread makes the next producer. It looks at the mark, and opens nothing:
           the old client may have its `transactional.id` until a lease ends.
        (test_a_background_open_meets_a_reload)
        """
        if not self._may_open(slot):
            return None
        producer = slot.producer or slot.adopt(self.make(slot))
        return producer if self._may_open(slot) else None

    def _may_open(self, slot: Slot) -> bool:
        here = slot.index < self.settings.size
        return here and slot.in_service and not self.closed

    def is_outdated(self, slot: Slot, producer: PoolProducer) -> bool:
        """Whether `slot` is to have another producer by the settings as they are.

        Not for its age, which depends on the size.
        """
        settings = self.settings
        if slot.index >= settings.size:
            return True
        age = producer.config.max_connection_age
        wanted = derived(settings.config_of(slot.index), max_connection_age=age)
        return producer.config != wanted

    def retire_outdated(self) -> None:
        """Retire each producer that its slot is not to have any more; one that is on
        lease when that ends."""
        for slot in self.slots:
            producer = slot.producer
            if producer is not None and self.is_outdated(slot, producer):
                if slot.producer is producer:
                    slot.outdated = True
                if not slot.seats:
                    self.retire(slot, producer)

    def look_after(self, slot: Slot, producer: PoolProducer) -> None:
        """Retire `producer` if it is lost, or if the slot is to have another one.

        Called when a lease of it has ended, and before another one is granted.
        """
        if self.closed:
            return  # the close looks after all
        if slot.producer is not producer:
            self.close_if_unused(slot, producer)
        elif slot.outdated or slot.index >= self.settings.size:
            self.retire(slot, producer)
        elif producer.is_lost:
            self._replace(slot, producer)

    def _replace(self, slot: Slot, producer: PoolProducer) -> None:
        if producer.is_gone:  # closed by the user
            self.retire(slot, producer)
            return
        error = producer.fatal_error()
        if error is None:
            return  # its own policy replaces the client
        if error.code in producer.config.non_reloadable_errors:
            # Another process uses the id: opening it again would fence that one.
            slot.error = error
            self.retire(slot, producer)
            self.on_room()
        elif self.retire(slot, producer):
            self.replaced += 1
            about = {"slot": slot.index, "producer_id": producer.id, "error": error}
            self.emitter.emit("pool.replaced", about)

    def retire(self, slot: Slot, producer: PoolProducer) -> bool:
        """Give `producer` to no new lease, and close it once its last one has ended.

        With a `transactional.id` the slot waits for that close; so the next client
        registers the id afterwards. Whether this call retired it.
        """
        return self._retire(slot, producer, None)[0]

    def succeed(
        self, slot: Slot, before: PoolProducer | None, fresh: PoolProducer
    ) -> bool:
        """Have `fresh` in `slot`, and retire the one `before`. False if another thread
        has made one meanwhile.

        It is put there once: it may be retired again at once
        (test_a_reload_meets_a_shrink).
        """
        replaced = before is not None and self._retire(slot, before, fresh)[1]
        return replaced or slot.adopt(fresh) is fresh

    def _retire(
        self, slot: Slot, producer: PoolProducer, successor: PoolProducer | None
    ) -> tuple[bool, bool]:
        """Whether this call retired it, and whether it put `successor` in its place."""
        if slot.producer is not producer:
            return False, False
        made = Retired(slot, producer, self.history.endings, self.closed_one)
        retired = cast("Retired", producer.retire(made))
        self.history.add(retired)
        if self.is_transactional:
            slot.wait_for(retired, producer)
        replaced = slot.replace(producer, successor)
        self.close_if_unused(slot, producer)
        return retired is made, replaced

    def close_if_unused(self, slot: Slot, producer: PoolProducer) -> None:
        """Close a producer that is retired, if no lease has it any more.

        1. A thread retires a producer, and has not taken it out of its slot yet.
        2. Another one finds that no lease has it.
        3. A caller is granted a lease of what the slot has.
        So the second one waits for the first (test_a_sweep_meets_a_reload).
        """
        retired = producer.retired
        if retired is None or slot.producer is producer:
            return
        if not slot.users_of(producer):
            retired.begin()

    def close_unused(self) -> None:
        """Close each retired producer that no lease has.

        One that is in its slot still is taken out: a signal handler may have raised in
        the thread that was to do so.
        """
        for slot in self.slots:
            producer = slot.producer
            if producer is not None and producer.retired is not None:
                self.retire(slot, producer)
        for retired in self.history.retired:
            self.close_if_unused(retired.slot, retired.producer)

    def closed_one(self, retired: Retired) -> None:
        """A retired producer is closed: its slot may open the next one."""
        self.history.ended(retired)
        slot = retired.slot
        if slot.closing is retired:
            slot.closing = None
        self.on_room()

    # -- a forked child ----------------------------------------------------

    def let_go(self) -> None:
        """The pool is collected: no circle keeps the producers alive any longer."""
        self.on_room = _nothing
        self.on_made = None

    def start_afresh(self, forked: object) -> None:
        """Keep the leases of the thread that forked, and nothing else."""
        self.history = History()
        self.replaced = 0
        for slot in self.slots:
            slot.closing = None
            for seat, holding in dict(slot.seats).items():
                if thread_of(holding.owner) is not forked or holding() is None:
                    holding.over = True
                    holding.leave((slot, seat))
                elif holding.producer is not None and holding.producer.retired:
                    self._retire_anew(slot, holding.producer)
            if not slot.seats:
                slot.producer = None

    def _retire_anew(self, slot: Slot, producer: PoolProducer) -> None:
        """It was retired in the parent, whose threads would close it."""
        if not any(each.producer is producer for each in self.history.retired):
            made = Retired(slot, producer, self.history.endings, self.closed_one)
            producer.retire_anew(made)
            self.history.add(made)
            slot.replace(producer, None)
            slot.closing = made if self.is_transactional else None


def _nothing() -> None:
    """The pool is being made."""


def _flush(producer: PoolProducer, until: float | None) -> int:
    left = None if until is None else max(0.0, until - clock.system_now())
    return producer.flush(left)


def _taken_at(holding: Holding) -> float:
    return holding.taken_at
