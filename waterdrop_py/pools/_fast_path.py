"""The fast path of a lease: an open producer is free, and nothing is unusual.

It does in one piece what `Leasing` does in many, because calls are most of what a lease
costs. What it does not take on goes to `Leasing`, with nothing changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.signals import no_signal_at_entry
from waterdrop_py._engine.connection.states import ConnectionState

if TYPE_CHECKING:
    from waterdrop_py.pools._leasing import Leasing
    from waterdrop_py.pools._slot import Holding

_OPEN: Final = ConnectionState.OPEN


def take(leasing: Leasing, holding: Holding, bound: float) -> None:
    """Grant the lease of `holding` within `bound` seconds; see `Leasing.take`."""
    try:
        if _grant(leasing, holding):
            return
    except BaseException:
        leasing.interrupted(holding)
        raise
    leasing.take(holding, bound)


def _grant(leasing: Leasing, holding: Holding) -> bool:
    """Grant the lease if an open producer is free; False if it is not that simple.

    1. This takes a seat, and notes its place and the producer that it is for.
    2. A thread that changes the pool or the slot does so, and then looks at the seats.
    3. This looks whether pool and slot are as they were, and leaves the seat if not.
    One of the two sees the other (test_a_resize_meets_a_lease_on_the_fast_path).
    """
    members = leasing.members
    settings, slots = members.settings, members.slots
    if (
        leasing.line.waiting
        or members.closed
        or len(slots) != settings.size
        or settings.strategy != "pack"
        or leasing.emitter.hears_leases
    ):
        return False
    limit = settings.client_limit
    for slot in slots:
        seats = slot.seats
        seat = len(seats)
        if seat >= limit or (producer := slot.producer) is None:
            continue
        connection = producer._connection
        if connection.state is not _OPEN:
            continue
        if (
            connection.client.fatal is not None
            or connection.fatal_client is not None
            or seats.setdefault(seat, holding) is not holding
        ):
            return False
        holding.producer = producer
        now = clock.now()
        holding.taken_at = now
        holding.place = (slot, seat)
        if (
            slot.producer is producer
            and not slot.outdated
            and slot.error is None
            and slot.closing is None
            and members.settings is settings
            and not members.closed
        ):
            # Without a call from the look to the return, so no signal handler comes
            # in between.
            slot.used_at = now
            holding.over = False
            holding.counted = True
            counts = leasing.counts
            counts.granted += 1
            counts.warm += 1
            return True
        leasing.seating.leave_unused(holding, (slot, seat))
        holding.place = None
        return False
    return False


@no_signal_at_entry
def give_back(leasing: Leasing, holding: Holding) -> None:
    """End the lease; see `Leasing.give_back`.

    From the look at the clock to the end there is no call, and so no other thread and
    no signal handler. One that raises earlier ends the lease all the same
    (test_a_handler_that_raises_loses_no_lease).
    """
    try:
        ended = False
        now = clock.now()
        members = leasing.members
        place, producer = holding.place, holding.producer
        if not (
            holding.over
            or place is None
            or producer is None
            or members.is_transactional
        ):
            slot, seat = place
            seats = slot.seats
            if seat in seats and seats[seat] is holding:
                del seats[seat]
            holding.over = ended = True
            holding.ended_at = now
            leasing.counts.usage_s += now - holding.taken_at
            connection = producer._connection
            if (
                leasing.line.waiting
                or leasing.on_return is not None
                or leasing.emitter.hears_leases
                or slot.producer is not producer
                or slot.outdated
                or slot.index >= members.settings.size
                or connection.state is not _OPEN
                or connection.client.fatal is not None
                or connection.fatal_client is not None
            ):
                leasing.follow_up(holding)
    except BaseException:
        leasing.end(holding)
        raise
    if not ended:
        leasing.give_back(holding)
