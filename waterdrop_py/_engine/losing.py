"""Messages whose reports do not come."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine import aside, waiting
from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from waterdrop_py._engine.life import Life

GIVE_UP: Final = 1.0
"""Seconds for the reports of what was purged."""


def give_up(life: Life, deadline: float, *, purge: bool = True) -> list[DeliveryHandle]:
    """Purge what `life` still has, and serve the reports until `deadline`.

    Returns the handles that had to be resolved without one.
    """
    client = life.client
    if purge and client is not None and life.in_flight():
        client.purge()
    waiting.wait_turn(life, lambda: not life.in_flight(), deadline, idle=0.01)
    return lose(life) if life.in_flight() else []


def lose(life: Life) -> list[DeliveryHandle]:
    """Resolve every open handle of `life`: its report was torn, or is held up.

    Nobody keeps a list of open handles; the garbage collector knows them.
    """
    lost = [
        handle
        for handle in gc.get_objects()
        if type(handle) is DeliveryHandle and handle._life is life and not handle.done()
    ]
    life.lost = ProduceError(
        "given up: the report was not served in time (purge_inflight)",
        code="purge_inflight",
    )
    for handle in aside.handles_of(life):
        aside.notify(handle)
    return lost
