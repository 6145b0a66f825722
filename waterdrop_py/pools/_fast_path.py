"""The fast path to a lease: an open producer is free, and nothing is unusual.

It does in one piece what `Leasing` does in many, because calls are most of what a lease
costs. What it does not take on goes to a `Turn`, with nothing changed. `Lease.release`
does the same at the end of a lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection.states import ConnectionState
from waterdrop_py.pools._slot import Holding
from waterdrop_py.pools._turn import take
from waterdrop_py.pools.lease import Lease

if TYPE_CHECKING:
    from types import CodeType

    from waterdrop_py.pools._leasing import Leasing
    from waterdrop_py.pools._owners import Owner

_OPEN: Final = ConnectionState.OPEN
_new: Final = object.__new__


def grant(  # noqa: C901, PLR0915 - one piece
    pool: object,
    leasing: Leasing,
    bound: float | None,
    owner: Owner,
    code: CodeType,
    instruction: int,
) -> Lease:
    """Make a lease, and grant it within `bound` seconds; raises as `take`.

    None: only where that takes no more than this; else it is not `counted`. `owner`
    takes it, in the function of `code`, which is as far as `instruction`.

    1. This takes a seat, and notes its place and the producer that it is for.
    2. A thread that changes the pool or the slot does so, and then looks at the seats.
    3. This looks whether pool and slot are as they were, and leaves the seat if not.
    One of the two sees the other (test_a_resize_meets_a_lease_on_the_fast_path).
    """
    lease = _new(Lease)
    holding = Holding(lease)
    holding.owner = owner
    holding.code = code
    holding.instruction = instruction
    holding.place = holding.producer = holding.ended_at = None
    holding.over = True
    holding.counted = False
    lease._pool = pool
    lease._leasing = leasing
    lease._holding = holding
    members = leasing.members
    settings, slots = members.settings, members.slots
    try:
        if not (
            leasing.line.waiting
            or members.closed
            or len(slots) != settings.size
            or settings.strategy != "pack"
            or leasing.emitter.hears_leases
        ):
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
                    break
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
                    # No call from the look to the end, and so no signal handler.
                    slot.used_at = now
                    holding.over = False
                    holding.counted = True
                    counts = leasing.counts
                    counts.granted += 1
                    counts.warm += 1
                    return lease
                leasing.seating.leave_unused(holding, (slot, seat))
                holding.place = None
                break
    except BaseException:
        leasing.interrupted(holding)
        raise
    if bound is not None:
        take(leasing, holding, bound)
    return lease
