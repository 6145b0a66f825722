"""`flush`: waiting until nothing is in flight, without waiting out the linger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.poll_lock import SLICE
from waterdrop_py._engine.concurrency import background, clock
from waterdrop_py._engine.concurrency.locks import Hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client

PUSH: Final = 0.01
"""Seconds of one native flush."""
PAUSE: Final = 0.05
"""Seconds between two native flushes."""


def flush(client: Client, timeout: float | None, *, lingers: bool) -> int:
    """Wait at most `timeout` seconds until nothing is in flight; how much still is.

    And until the callbacks and subscribers of what was have been called.

    That includes what other threads send meanwhile. Reports come in any order, so a
    count of them would not say which messages they are about.
    """
    deadline = math.inf if timeout is None else clock.system_now() + timeout
    if client.in_flight() or not (client.is_settled or client.served_here):
        wait_until(client, lambda: client.is_settled, deadline, push=lingers)
    return client.in_flight()


def wait_until(
    client: Client, done: Callable[[], bool], deadline: float, *, push: bool
) -> bool:
    """Wait until `done()` or `deadline`; whether it is done.

    With `push`, messages that wait out their `linger.ms` are sent now. Only a native
    flush does that, and only while it runs. It is short, and used only where there is
    a linger: a fatal error that is served in the same flush as a report interrupts the
    report's callback.
    """
    while not done() and clock.system_now() < deadline:
        pause = PAUSE if push and client.fatal is None else SLICE
        if push and client.fatal is None:
            background.call(lambda: push_now(client))
        until = min(deadline, clock.system_now() + pause)
        waiting.wait_serving(client, done, until)
    return done()


def push_now(client: Client) -> None:
    """Have messages that wait out their linger sent now. Blocks for PUSH seconds."""
    hold = Hold()
    try:
        if client.poll_lock.take(hold) and client.native is not None:
            client.serve_with(client.native.flush, PUSH)
    finally:
        client.stop_polling(hold)
