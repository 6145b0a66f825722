"""What is sent after the exit handler has closed the producers.

Handlers that were registered before the library was imported run after its own:
`logging.shutdown` always does. No thread of the library is there any more, and nothing
comes behind them. So what they send is delivered before their call returns.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from waterdrop_py._engine import clock, flushing
from waterdrop_py._engine.losing import GIVE_UP, give_up

if TYPE_CHECKING:
    from waterdrop_py._engine.slot import ClientSlot


def deliver(slot: ClientSlot) -> None:
    """Wait until what the client has is delivered; give up what is not in time.

    All that is sent late by one producer waits for at most its `close_timeout`
    together. Does nothing inside a callback of the client: whoever serves that waits
    for this message too.
    """
    life = slot.life
    if life.held_here() or not life.in_flight():
        return
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
            "that were sent as the process ended",
            ResourceWarning,
            stacklevel=2,
        )
    slot.late_budget = max(0.0, slot.late_budget - (clock.system_now() - started))
