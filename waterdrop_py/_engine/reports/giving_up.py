"""Giving up messages whose reports do not come."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting, watchers
from waterdrop_py._engine.client.pending import client_of
from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.errors import ProduceError, shared

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client

GIVE_UP: Final = 1.0
"""Seconds to wait for the reports of purged messages."""


def give_up(client: Client, deadline: float) -> list[DeliveryHandle]:
    """Purge what `client` still has, and serve the reports until `deadline`.

    Returns the handles that had to be resolved without one.
    """
    native = client.native
    if native is not None and client.in_flight():
        native.purge()
    waiting.wait_serving(client, lambda: not client.in_flight(), deadline, idle=0.01)
    return give_up_now(client) if client.in_flight() else []


def give_up_now(client: Client) -> list[DeliveryHandle]:
    """Resolve every open handle of `client`, because its reports take too long."""
    lost = open_handles(client)
    client.give_up(
        shared(
            ProduceError(
                "given up: the report was not served in time (purge_inflight)",
                code="purge_inflight",
            )
        )
    )
    for handle in tuple(watchers.WATCHED):
        if isinstance(handle, DeliveryHandle) and client_of(handle) is client:
            watchers.notify(client, handle)
    client.wake_all_tasks()
    return lost


def open_handles(client: Client) -> list[DeliveryHandle]:
    """Every handle of `client` without an outcome.

    In-flight handles are not tracked, because that would slow down every send. This
    asks the garbage collector instead, at a few milliseconds per 100 000 objects.
    """
    return [
        each
        for each in gc.get_objects()
        if type(each) is DeliveryHandle
        and client_of(each) is client
        and not each.done()
    ]
