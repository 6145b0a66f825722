"""Messages whose reports do not come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting, watchers
from waterdrop_py.errors import ProduceError, shared

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py.delivery import DeliveryHandle

GIVE_UP: Final = 1.0
"""Seconds for the reports of what was purged."""


def give_up(client: Client, deadline: float) -> list[DeliveryHandle]:
    """Purge what `client` still has, and serve the reports until `deadline`.

    Returns the handles that had to be resolved without one.
    """
    native = client.native
    if native is not None and client.in_flight():
        native.purge()
    waiting.wait_turn(client, lambda: not client.in_flight(), deadline, idle=0.01)
    return lose(client) if client.in_flight() else []


def lose(client: Client) -> list[DeliveryHandle]:
    """Resolve every open handle of `client`: its report is held up, for too long."""
    lost = watchers.open_handles(client)
    client.given_up = shared(
        ProduceError(
            "given up: the report was not served in time (purge_inflight)",
            code="purge_inflight",
        )
    )
    for handle in watchers.handles_of(client):
        watchers.notify(handle)
    return lost
