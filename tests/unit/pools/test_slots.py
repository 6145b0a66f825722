"""Steps that threads may take at the same moment: the first one counts."""

from __future__ import annotations

import gc
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py.pools._seating import Seating
from waterdrop_py.pools._slot import LATE, Holding, Reserved, Slot
from waterdrop_py.pools._waiting import ThreadWakeup, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable


class Lease:
    """What a `Holding` refers to, and what a slot has for a producer."""


@pytest.fixture
def slot() -> Slot:
    """A slot that nothing has used."""
    return Slot(0)


def test_the_first_producer_stays(slot: Slot) -> None:
    """Two threads make one each: both use that of the first."""
    first: Any = Lease()
    second: Any = Lease()
    assert slot.adopt(first) is first
    assert slot.adopt(second) is first
    assert slot.producer is first


def test_a_producer_is_replaced_once(slot: Slot) -> None:
    """The second thread that replaces it finds the third producer, and leaves it."""
    first: Any = Lease()
    third: Any = Lease()
    slot.adopt(first)
    assert slot.replace(first, third)
    assert not slot.replace(first, None)
    assert slot.producer is third


def test_a_seat_of_another_lease_is_not_freed(slot: Slot) -> None:
    """A lease that has left its seat leaves it once."""
    before, after = Lease(), Lease()
    gone, other = Holding(before), Holding(after)
    place = slot.take_seat(gone, 1)
    gone.leave(place)
    slot.take_seat(other, 1)
    gone.leave(place)
    assert slot.seats == {0: other}


@pytest.mark.parametrize(
    "look",
    [
        lambda slot, other: Seating(members(slot)).leave_all(other),
        lambda slot, _: slot.users_of(None),
    ],
    ids=["leave_all", "users_of"],
)
def test_a_copy_while_garbage_is_collected(
    slot: Slot, look: Callable[[Slot, Holding], object]
) -> None:
    """A look allocates, each collection runs another thread, and that takes a seat."""
    leases = [Lease() for _ in range(21)]
    other, *holdings = [Holding(each) for each in leases]
    for each in holdings:
        each.producer = None
    slot.seats.update(enumerate(holdings))
    seats, looking = count(len(holdings)), list[bool]()

    def collected(*_: object) -> None:
        if looking:
            slot.seats[next(seats)] = holdings[0]

    before = gc.get_threshold()
    gc.callbacks.append(collected)
    try:
        for allocations in range(400):
            gc.set_threshold(allocations % 40 + 1)
            garbage = [[0] for _ in range(allocations % 60)]
            looking.append(True)
            look(slot, other)
            looking.clear()
            del garbage
    finally:
        gc.callbacks.remove(collected)
        gc.set_threshold(*before)
    assert len(slot.seats) > len(holdings)


def members(slot: Slot) -> Any:
    """Those of a pool that has this one slot."""
    return SimpleNamespace(slots=[slot])


class TestReserved:
    """A seat that is taken for a caller that waits."""

    @pytest.fixture(autouse=True)
    def reserve(self, slot: Slot) -> None:
        """Take one."""
        self.lease = Lease()
        self.holding = Holding(self.lease)
        self.waiter = Waiter(self.holding, ThreadWakeup(), 0)
        self.reserved = Reserved.of(self.lease, self.waiter)
        place = slot.take_seat(self.reserved, 1)
        assert place is not None
        self.place = place

    def test_it_is_lost_when_it_is_late(self) -> None:
        """However often others look: its thread may be about to give it."""
        assert not any(self.reserved.is_lost() for _ in range(3))
        self.reserved.taken_at -= 2 * LATE
        assert self.reserved.is_lost()

    def test_it_is_lost_when_the_caller_waits_no_more(self) -> None:
        """At the first look."""
        self.waiter.give_up()
        assert self.reserved.is_lost()

    def test_it_is_not_lost_when_it_was_given(self) -> None:
        """However often the pool looks, until the caller takes it over."""
        assert self.waiter.give(self.reserved, self.place)
        assert not any(self.reserved.is_lost() for _ in range(3))

    def test_one_is_given(self) -> None:
        """Of two threads that give a seat each, one does."""
        another = Reserved.of(self.lease, self.waiter)
        assert self.waiter.give(self.reserved, self.place)
        assert not self.waiter.give(another, self.place)
        assert self.waiter.has(self.reserved)
        assert another.is_lost()

    def test_it_is_taken_over(self, slot: Slot) -> None:
        """By the caller's own lease."""
        assert self.holding.take_over(self.reserved, self.place)
        assert slot.seats == {0: self.holding}

    def test_one_that_was_lost_is_not_taken_over(self, slot: Slot) -> None:
        """Another lease may have the seat by now."""
        self.reserved.leave(self.place)
        after = Lease()
        other = Holding(after)
        slot.take_seat(other, 1)
        assert not self.holding.take_over(self.reserved, self.place)
        assert slot.seats == {0: other}
