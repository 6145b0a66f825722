"""What is sent while there is no thread of the library's: it is delivered at once.

There is none in uWSGI's master, as it forks in C, and none after the library's exit
handler. Handlers that were registered before the library was imported run after that
one, as `logging.shutdown` always does, and nothing comes behind them.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from waterdrop_py._engine import clock, flushing
from waterdrop_py._engine.losing import GIVE_UP, give_up

if TYPE_CHECKING:
    from waterdrop_py._engine.life import Life
    from waterdrop_py._engine.slot import ClientSlot


def deliver(slot: ClientSlot) -> None:
    """Wait until what the client has is delivered; give up what is not in time.

    All that is sent late by one producer waits for at most its `close_timeout`
    together. Does nothing inside a callback of the client: whoever serves that waits
    for this message too.
    """
    life = slot.life
    if life.held_here():
        return
    if life.in_flight():
        _wait(slot, life)
    # No reaper comes for the client, and a fork in C would hand its sockets on.
    if not slot.engine.ended and slot.close_before_fork is not None:
        slot.retire("fork")


def _wait(slot: ClientSlot, life: Life) -> None:
    started = clock.system_now()
    flushing.wait_until(
        life,
        lambda: not life.in_flight(),
        started + slot.late_budget,
        push=slot.factory.lingers,
    )
    left = life.in_flight()
    if left:
        give_up(life, clock.system_now() + GIVE_UP)
        warnings.warn(
            f"producer {slot.emitter.producer_id!r} could not deliver {left} messages "
            "that were sent where no thread of the library's can run",
            ResourceWarning,
            stacklevel=2,
        )
    slot.late_budget = max(0.0, slot.late_budget - (clock.system_now() - started))
