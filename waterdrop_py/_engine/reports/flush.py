"""Waiting until what is in flight has its outcome, without the linger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.poll_lock import SLICE
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client

PUSH: Final = 0.01
"""Seconds of one native flush."""
PAUSE: Final = 0.05
"""Seconds between two of them."""


def flush(client: Client, timeout: float | None, *, lingers: bool) -> int:
    """Wait until nothing is in flight; how much of it is without an outcome.

    All of it, what other threads send meanwhile too: reports come in any order, so
    that a count of them would not say whose they are.
    """
    deadline = math.inf if timeout is None else clock.system_now() + timeout
    if client.in_flight():
        wait_until(client, lambda: not client.in_flight(), deadline, push=lingers)
    return client.in_flight()


def wait_until(
    client: Client, done: Callable[[], bool], deadline: float, *, push: bool
) -> bool:
    """Wait until `done()` or `deadline`; whether it is done.

    With `push`, messages that wait out their `linger.ms` are sent now. Only a native
    flush does that, for as long as it lasts. It is kept short, and used only where
    there is a linger to cut short: a fatal error and a report that are served
    inside one flush tear the report's callback.
    """
    while not done() and clock.system_now() < deadline:
        pause = PAUSE if push and client.fatal is None else SLICE
        if push and client.fatal is None:
            _push(client)
        until = min(deadline, clock.system_now() + pause)
        waiting.wait_turn(client, done, until)
    return done()


def _push(client: Client) -> None:
    ticket = Ticket()
    try:
        if client.poll_lock.take(ticket) and client.native is not None:
            client.serve_with(client.native.flush, PUSH)
    finally:
        client.leave(ticket)
