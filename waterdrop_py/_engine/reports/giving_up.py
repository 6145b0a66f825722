"""Giving up messages whose reports do not come."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting, watchers
from waterdrop_py._engine.client.pending import (
    client_of,
    end_traces,
    is_traced,
    was_reported,
)
from waterdrop_py._engine.concurrency import background
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.reports.accounting import FEW
from waterdrop_py.delivery import DeliveryHandle, TracedHandle
from waterdrop_py.errors import ProduceError, shared

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client

GIVE_UP: Final = 1.0
"""Seconds to wait for the reports of purged messages."""


def give_up(client: Client, deadline: float) -> list[DeliveryHandle]:
    """Purge what `client` still has, and serve the reports until `deadline`.

    Returns the handles that had to be resolved without one. What a foreign client
    raises is told of, and leaves no handle without an outcome.
    """
    native = client.native
    try:
        if native is not None and client.in_flight():
            native.purge()
        waiting.wait_serving(
            client, lambda: not client.in_flight(), deadline, idle=0.01
        )
    except BaseException as error:
        if from_signal_handler(error):
            raise
        client.reports.emitter.error("producer.disconnect.error", error)
    return give_up_now(client) if client.in_flight() else []


def give_up_now(client: Client) -> list[DeliveryHandle]:
    """Resolve every open handle of `client`, because its reports take too long."""
    lost = open_handles(client)
    error = shared(
        ProduceError(
            "given up: the report was not served in time (purge_inflight)",
            code="purge_inflight",
        )
    )
    client.give_up(error)
    traced = [each for each in lost if is_traced(each)]
    if len(traced) > FEW:  # the caller has a bound
        background.submit(lambda: _end_traces(traced, error))
    else:
        _end_traces(traced, error)
    for handle in list(watchers.WATCHED):
        if isinstance(handle, DeliveryHandle) and client_of(handle) is client:
            watchers.notify(client, handle)
    client.wake_all_tasks()
    return lost


def _end_traces(lost: list[DeliveryHandle], error: ProduceError) -> None:
    for handle in lost:
        if not was_reported(handle):
            end_traces(handle, None, error)


def open_handles(client: Client) -> list[DeliveryHandle]:
    """Every handle of `client` without an outcome.

    In-flight handles are not tracked, because that would slow down every send. This
    asks the garbage collector instead, at a few milliseconds per 100 000 objects.
    """
    return [
        each
        for each in gc.get_objects()
        if ((kind := type(each)) is DeliveryHandle or kind is TracedHandle)
        and client_of(each) is client
        and not each.done()
    ]
