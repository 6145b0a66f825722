"""Messages whose reports do not come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting, watchers
from waterdrop_py.errors import ProduceError, shared

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Life
    from waterdrop_py.delivery import DeliveryHandle

GIVE_UP: Final = 1.0
"""Seconds for the reports of what was purged."""


def give_up(life: Life, deadline: float) -> list[DeliveryHandle]:
    """Purge what `life` still has, and serve the reports until `deadline`.

    Returns the handles that had to be resolved without one.
    """
    client = life.client
    if client is not None and life.in_flight():
        client.purge()
    waiting.wait_turn(life, lambda: not life.in_flight(), deadline, idle=0.01)
    return lose(life) if life.in_flight() else []


def lose(life: Life) -> list[DeliveryHandle]:
    """Resolve every open handle of `life`: its report is held up, for too long."""
    lost = watchers.open_handles(life)
    life.lost = shared(
        ProduceError(
            "given up: the report was not served in time (purge_inflight)",
            code="purge_inflight",
        )
    )
    for handle in watchers.handles_of(life):
        watchers.notify(handle)
    return lost
