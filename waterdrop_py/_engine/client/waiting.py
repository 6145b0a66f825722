"""How a thread waits for a report: it serves reports itself if nobody else does."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.poll_lock import SLICE
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Ticket
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py.errors import ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.client.watchers import Pending

_RECHECK: Final = 0.5
"""Seconds after which a waiter looks again although nobody rang."""


def wait_deferred(
    client: Client, handle: Pending, thread: int, deadline: float
) -> None:
    """Wait for a moment for the outcome of a message that waits to be sent.

    `thread` has deferred it, from a call that interrupted another one.

    Raises:
        ReentrantCallError: this call is inside the one that was interrupted.
    """
    blocked = client.blocked
    if thread == get_ident() and blocked is not None and blocked():
        raise ReentrantCallError(
            "this message is sent when the interrupted call ends; its report cannot "
            "be waited for inside it"
        )
    wakeup = Wakeup()
    watchers.wake(client, handle, wakeup)
    try:
        wakeup.wait(min(deadline - clock.system_now(), SLICE))
    finally:
        watchers.unwake(handle, wakeup)


def wait_once(
    client: Client, handle: Pending, deadline: float, woken: Client | None
) -> Client | None:
    """Serve reports until `handle` has its outcome, or wait for who serves them.

    Waits once; the caller looks again. `woken` is the client whose turn this thread
    was woken for and has not taken yet. Returns the one of which that is so now: the
    caller hands on when it stops.
    """
    left = deadline - clock.system_now()
    if serve_until(client, handle.done, deadline):
        return None
    if _queue_up(client, handle, handle.done, left):
        return client
    return woken


def serve_until(client: Client, done: Callable[[], bool], deadline: float) -> bool:
    """Serve the reports of `client` until `done()` or `deadline`, if the turn is free.

    False when another thread has the turn.

    Raises:
        ReentrantCallError: this thread itself has the turn, further down.
    """
    ticket = Ticket()
    try:
        if not client.poll_lock.take(ticket):
            if client.poll_lock.held_here:
                raise ReentrantCallError(
                    "a call that waits for delivery reports was made inside a "
                    "callback or subscriber of the same client, which holds them up"
                )
            return False
        if client.native is None:
            return False
        while not done():
            wait = min(SLICE, max(0.0, deadline - clock.system_now()))
            client.serve(wait)
            if wait <= 0 or client.native is None:
                break
            if client.reports.foreign and not done():
                client.settle()  # its report may never come
        return True
    finally:
        client.leave(ticket)


def hear(client: Client) -> None:
    """Serve what has arrived, unless somebody else does.

    Why a metadata request failed comes through `error_cb`, not with its exception.
    """
    if not client.poll_lock.held_here:
        serve_until(client, lambda: False, clock.system_now())


def wait_turn(
    client: Client, done: Callable[[], bool], deadline: float, idle: float = SLICE
) -> bool:
    """Wait until `done()` or `deadline`, serving whenever the turn is free."""
    woken = False
    while not done() and clock.system_now() < deadline:
        if serve_until(client, done, deadline):
            woken = False
        else:
            left = min(idle, max(0.0, deadline - clock.system_now()))
            woken = _queue_up(client, None, done, left)
    if woken:
        client.hand_on()
    return done()


def _queue_up(
    client: Client, handle: Pending | None, done: Callable[[], bool], wait: float
) -> bool:
    """Wait for the turn, or for the outcome; whether the turn's bell was rung.

    The bell is hung up first and the turn looked at second; `Client.leave`
    releases first and looks for bells second: one of the two sees the other.
    Whoever was rung and does not serve afterwards hands on
    (test_a_waiter_that_gives_up_wakes_the_next).
    """
    wakeup = Wakeup()
    if handle is not None:
        watchers.wake(client, handle, wakeup)
    client.poll_lock.waiters.append(wakeup)
    try:
        busy = client.poll_lock.taken or client.native is None
        if busy and not done() and not wakeup.wait(min(wait, _RECHECK)):
            client.poll_lock.heal()
    except BaseException:
        if _take_down(client, handle, wakeup):
            client.hand_on()
        raise
    return _take_down(client, handle, wakeup)


def _take_down(client: Client, handle: Pending | None, wakeup: Wakeup) -> bool:
    """Wait no more; whether the turn's bell was rung."""
    if handle is not None:
        watchers.unwake(handle, wakeup)
    try:
        client.poll_lock.waiters.remove(wakeup)
    except ValueError:
        return True
    return False
