"""`Seating`: which slot's producer the next lease gets, and its seat there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterdrop_py.pools._members import Members
    from waterdrop_py.pools._producer import PoolProducer
    from waterdrop_py.pools._settings import PoolSettings
    from waterdrop_py.pools._slot import Holding, Place, Slot


class Seating:
    """Takes seats in the slots of one pool. Thread-safe, re-entrant, without a lock.

    A thread that takes a seat looks at the slot afterwards: may it be used, and has it
    still the producer that was found there? A thread that changes a slot looks at its
    seats afterwards. One of the two sees the other
    (test_a_reload_meets_a_lease_that_is_being_granted).
    """

    __slots__ = ("_members",)

    def __init__(self, members: Members) -> None:
        self._members = members

    def claim(self, holding: Holding) -> Place | None:
        """Take a seat for `holding` in the slot that is to be used next, if any."""
        while (slot := self._choose()) is not None:
            place = slot.take_seat(holding, self._members.settings.client_limit)
            if place is None:
                continue  # another thread took it
            if self._may_use(slot):
                return place
            self.leave_unused(holding, place)
        return None

    def leave_unused(self, holding: Holding, place: Place) -> None:
        """Free a seat that was taken in vain.

        A thread that found it taken may have left the producer to its release
        (test_a_resize_meets_a_lease_on_the_fast_path).
        """
        producer, holding.producer = holding.producer, None
        holding.leave(place)
        slot = place[0]
        for each in (producer, slot.producer):
            if each is not None:
                self._members.look_after(slot, each)

    def producer_for(self, slot: Slot, holding: Holding) -> PoolProducer | None:
        """The producer for `holding`, which has a seat in `slot`; made if need be.

        None if the slot may not be used any more. Two threads may each make one; the
        slot keeps the first, and the other is never opened.
        """
        members = self._members
        while self._may_use(slot):
            settings = members.settings
            producer = slot.producer
            if producer is None:
                producer = slot.adopt(members.make(slot))
            holding.producer = producer
            # A close that began before the slot had the producer has not seen it.
            changed = members.closed or slot.closing is not None
            if changed or slot.producer is not producer:
                holding.producer = None
                members.close_if_unused(slot, producer)
                continue
            # A reload may have come while the producer was made.
            if members.settings is settings or not members.is_outdated(slot, producer):
                return producer
            holding.producer = None  # so that it is closed now
            members.retire(slot, producer)
        holding.producer = None
        return None

    def free_lost_seats(self) -> None:
        """Free the seats of leases that were collected, or granted another one.

        A signal handler may have raised between two steps of the thread that took a
        seat or was to free it.
        """
        for slot in self._members.slots:
            for seat, holding in dict(slot.seats).items():
                if holding() is None or holding.is_lost():
                    self.leave_unused(holding, (slot, seat))

    def leave_all(self, holding: Holding) -> None:
        """Free every seat that was taken for the lease of `holding`."""
        lease = holding()
        for slot in self._members.slots:
            for seat, each in dict(slot.seats).items():
                if each is holding or each() is lease:
                    self.leave_unused(each, (slot, seat))

    @property
    def available(self) -> int:
        """How many leases would be granted at once."""
        if self._members.closed:
            return 0
        settings = self._members.settings
        leased = sum(bool(slot.seats) for slot in self._members.slots)
        usable = [slot for slot in self._members.present if slot.in_service]
        shared = sum(
            max(0, settings.client_limit - len(slot.seats))
            for slot in usable
            if slot.seats
        )
        more = min(settings.size - leased, sum(not slot.seats for slot in usable))
        return shared + max(0, more) * settings.client_limit

    def _choose(self) -> Slot | None:
        settings = self._members.settings
        if self._members.closed:
            return None
        slots: Sequence[Slot] = self._members.slots
        if len(slots) > settings.size and not self._has_room_for_more():
            slots = [slot for slot in slots if slot.seats]
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
        self._members.look_after(slot, producer)
        return slot.error is None and slot.closing is None

    def _may_use(self, slot: Slot) -> bool:
        """Whether a seat in it may be kept, as far as is seen after it was taken."""
        size = self._members.settings.size
        if self._members.closed or slot.index >= size or slot.error or slot.closing:
            return False
        return len(self._members.slots) == size or self._has_room_for_more(besides=slot)

    def _has_room_for_more(self, besides: Slot | None = None) -> bool:
        """Whether one more producer may be on lease. After `resize` to a smaller size,
        leases in slots beyond it count until they end."""
        size = self._members.settings.size
        if not any(slot.seats for slot in self._members.slots[size:]):
            return True
        leased = sum(
            bool(slot.seats) for slot in self._members.slots if slot is not besides
        )
        if besides is not None and len(besides.seats) > 1:
            return True
        return leased < size


def _least_used(slot: Slot) -> tuple[int, float]:
    return len(slot.seats), slot.used_at
