"""`Members`: the slots of a pool, and which producer each has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from waterdrop_py.pools._producer import PoolProducer
from waterdrop_py.pools._retiring import History, Retired
from waterdrop_py.pools._side_by_side import side_by_side
from waterdrop_py.pools._slot import Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.errors import ProduceError
    from waterdrop_py.monitor import Monitor
    from waterdrop_py.pools._emitter import PoolEmitter
    from waterdrop_py.pools._settings import PoolSettings
    from waterdrop_py.pools._slot import Holding, Place


class Members:
    """The slots of one pool. Thread-safe, re-entrant, without a lock.

    A thread that takes a seat looks at the slot afterwards: may it be used, and has it
    still the producer that was found there? A thread that changes a slot looks at its
    seats afterwards. One of the two sees the other
    (test_a_reload_meets_a_lease_that_is_being_granted).

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
        """Whether a lease may be granted sooner or later."""
        return not self.closed and self.lost is None

    @property
    def available(self) -> int:
        """How many leases would be granted at once."""
        if self.closed:
            return 0
        settings = self.settings
        leased = sum(bool(slot.seats) for slot in self.slots)
        usable = [slot for slot in self.present if slot.in_service]
        shared = sum(
            max(0, settings.client_limit - len(slot.seats))
            for slot in usable
            if slot.seats
        )
        more = min(settings.size - leased, sum(not slot.seats for slot in usable))
        return shared + max(0, more) * settings.client_limit

    def holdings(self) -> list[Holding]:
        """The leases that are out, longest held first."""
        out = [holding for slot in self.slots for holding in slot.holdings()]
        return sorted(out, key=_taken_at)

    def producers(self) -> list[PoolProducer]:
        """Every producer that is not closed, each once: of the slots, and retired."""
        retired = [each.producer for each in self.history.retired]
        found = [slot.producer for slot in self.slots]
        return list(dict.fromkeys([*(each for each in found if each), *retired]))

    def flush(self, timeout: float | None) -> int:
        """Flush all side by side; how many messages are left."""
        busy = [
            each
            for each in self.producers()
            if not each.is_gone and (each.buffer_size or each.queue_size)
        ]
        calls = side_by_side([partial(each.flush, timeout) for each in busy])
        return sum(call.result() for call in calls)

    # -- seats -------------------------------------------------------------

    def claim(self, holding: Holding) -> Place | None:
        """Take a seat for `holding` in the slot that is to be used next, if any."""
        while (slot := self._choose()) is not None:
            place = slot.take_seat(holding, self.settings.client_limit)
            if place is None:
                continue  # another thread took it
            if self._may_use(slot):
                return place
            holding.leave(place)
        return None

    def _choose(self) -> Slot | None:
        settings = self.settings
        if self.closed:
            return None
        slots = self.slots
        if len(slots) > settings.size and not self._has_room_for_more():
            slots = tuple(slot for slot in slots if slot.seats)
        if settings.strategy == "spread":
            free = [slot for slot in slots if self._is_free(slot, settings)]
            return min(free, key=_least_used, default=None)
        closed: Slot | None = None
        for slot in slots:
            if not self._is_free(slot, settings):
                continue
            producer = slot.producer
            if producer is not None and producer.is_open:
                return slot
            if closed is None:
                closed = slot
        return closed

    def _is_free(self, slot: Slot, settings: PoolSettings) -> bool:
        if (
            len(slot.seats) >= settings.client_limit
            or slot.index >= settings.size
            or slot.error is not None
            or slot.closing is not None
        ):
            return False
        producer = slot.producer
        if producer is None or not (producer.is_lost or slot.outdated):
            return True
        self.look_after(slot, producer)
        return slot.error is None and slot.closing is None

    def _may_use(self, slot: Slot) -> bool:
        """Whether a seat in it may be kept, as far as is seen after it was taken."""
        size = self.settings.size
        if self.closed or slot.index >= size or slot.error or slot.closing:
            return False
        return len(self.slots) == size or self._has_room_for_more(besides=slot)

    def _has_room_for_more(self, besides: Slot | None = None) -> bool:
        """Whether one more producer may be on lease. After `resize` to a smaller size,
        leases in slots beyond it count until they end."""
        size = self.settings.size
        if not any(slot.seats for slot in self.slots[size:]):
            return True
        leased = sum(bool(slot.seats) for slot in self.slots if slot is not besides)
        if besides is not None and len(besides.seats) > 1:
            return True
        return leased < size

    def free_lost_seats(self) -> None:
        """Free the seats of leases that were collected, or granted another one.

        A signal handler may have raised between two steps of the thread that took a
        seat or was to free it.
        """
        for slot in self.slots:
            for seat, holding in tuple(slot.seats.items()):
                place = holding.place
                elsewhere = place is not None and place != (slot, seat)
                if holding() is None or elsewhere or (holding.counted and not place):
                    holding.leave((slot, seat))

    def leave_all(self, holding: Holding) -> None:
        """Free every seat of `holding`."""
        for slot in self.slots:
            for seat in tuple(slot.seats):
                holding.leave((slot, seat))

    # -- producers ---------------------------------------------------------

    def producer_for(self, slot: Slot, holding: Holding) -> PoolProducer | None:
        """The producer for `holding`, which has a seat in `slot`; made if need be.

        None if the slot may not be used any more. Two threads may each make one; the
        slot keeps the first, and the other is never opened.
        """
        while self._may_use(slot):
            settings = self.settings
            producer = slot.producer
            if producer is None:
                producer = slot.adopt(self.make(slot))
            holding.producer = producer
            if slot.producer is producer and slot.closing is None:
                if self.settings is settings or not self.is_outdated(slot, producer):
                    return producer
                self.retire(slot, producer)
        holding.producer = None
        return None

    def make(self, slot: Slot) -> PoolProducer:
        """A new producer for `slot`, by the settings as they are now."""
        producer = PoolProducer(self.settings.config_of(slot.index), self.monitor)
        if self.on_made is not None:
            self.on_made(slot, producer)
        return producer

    def ensure(self, slot: Slot) -> PoolProducer:
        """The producer of `slot`, made if need be."""
        return slot.producer or slot.adopt(self.make(slot))

    def is_outdated(self, slot: Slot, producer: PoolProducer) -> bool:
        """Whether `slot` is to have another producer by the settings as they are."""
        settings = self.settings
        if slot.index >= settings.size:
            return True
        return producer.config != settings.config_of(slot.index)

    def look_after(self, slot: Slot, producer: PoolProducer) -> None:
        """Retire `producer` if it is lost, or if the slot is to have another one.

        Called when a lease of it has ended, and before another one is granted.
        """
        if slot.producer is not producer:
            self._close_if_unused(slot, producer)
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
            return  # it heals by itself
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
        if slot.producer is not producer:
            return False
        made = Retired(producer, self.closed_one)
        retired = producer.retire(made)
        if retired is made:
            self.history.add(made)
        if self.is_transactional and slot.closing is None:
            slot.closing = retired
        slot.outdated = False
        slot.drop(producer)
        self._close_if_unused(slot, producer)
        return retired is made

    def _close_if_unused(self, slot: Slot, producer: PoolProducer) -> None:
        if producer.retired is not None and not slot.users_of(producer):
            producer.retired.begin()

    def closed_one(self, retired: Retired) -> None:
        """A retired producer is closed: its slot may open the next one."""
        self.history.ended(retired)
        for slot in self.slots:
            if slot.closing is retired:
                slot.closing = None
        self.on_room()

    # -- a forked child ----------------------------------------------------

    def start_afresh(self, owner: object) -> None:
        """Keep the leases of `owner`, the thread that forked, and nothing else."""
        self.history = History()
        self.replaced = 0
        for slot in self.slots:
            slot.closing = None
            for seat, holding in tuple(slot.seats.items()):
                if holding.owner is not owner or holding() is None:
                    holding.over = True
                    holding.leave((slot, seat))
            if not slot.seats:
                slot.producer = None


def _nothing() -> None:
    """The pool is being made."""


def _taken_at(holding: Holding) -> float:
    return holding.taken_at


def _least_used(slot: Slot) -> tuple[int, float]:
    return len(slot.seats), slot.used_at
