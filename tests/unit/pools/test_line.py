"""The order of the callers that wait."""

from __future__ import annotations

from waterdrop_py.pools._slot import Holding, Reserved, Slot
from waterdrop_py.pools._waiting import ThreadWakeup, Waiter, WaitingLine


class Lease:
    """What a holding refers to."""


LEASE = Lease()


def caller(line: WaitingLine) -> Waiter[ThreadWakeup]:
    """One more, which is not in the line yet."""
    return Waiter(Holding(LEASE), ThreadWakeup(), next(line.numbers))


def give(waiter: Waiter[ThreadWakeup]) -> None:
    """Give it a seat."""
    assert waiter.give(Reserved.of(LEASE, waiter), (Slot(0), 0))


def test_whose_seat_cannot_be_used_keeps_its_place() -> None:
    """However many come back, and in whatever order."""
    line = WaitingLine()
    waiting = [caller(line) for _ in range(4)]
    for each in reversed(waiting):
        line.join(each)
    assert line.waiting == waiting
    for each in (waiting[0], waiting[1]):
        give(each)
        line.leave(each)
    back = [Waiter(each.holding, ThreadWakeup(), each.number) for each in waiting[:2]]
    for each in back:
        line.join(each)
    assert line.waiting == [*back, *waiting[2:]]
    assert line.first() is back[0]


def test_who_was_given_a_seat_waits_no_more() -> None:
    """Though it is in the line still: as many others as may wait beside it."""
    line = WaitingLine()
    first, second, third = (caller(line) for _ in range(3))
    assert line.join(first, 1)
    assert not line.join(second, 1)
    line.leave(second)
    give(first)
    assert line.join(third, 1)
