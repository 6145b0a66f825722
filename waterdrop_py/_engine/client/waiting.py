"""How a thread waits for a report: it serves reports itself if nobody else does."""

from __future__ import annotations

import math
from threading import get_ident
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.client import SLICE
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Ticket
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py.errors import ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py.delivery import DeliveryHandle

_RECHECK: Final = 0.5
"""Seconds after which a waiter looks again although nobody rang."""


def wait_for(handle: DeliveryHandle, timeout: float | None) -> bool:
    """Wait until `handle` has its outcome; False when `timeout` seconds are over.

    Raises:
        ReentrantCallError: only a call that this one interrupted could end it.
    """
    deadline = math.inf if timeout is None else clock.system_now() + timeout
    return wait_until(handle, deadline)


def wait_until(handle: DeliveryHandle, deadline: float) -> bool:
    """The same, with a deadline."""
    woken: Client | None = None
    check()
    while not handle.done():
        client = handle._client
        left = deadline - clock.system_now()
        if handle._seq < 0:
            _refuse_to_wait_for_myself(handle)
            _listen(handle, min(left, SLICE))
        elif serve_until(client, handle.done, deadline):
            woken = None
        elif _queue_up(client, handle, handle.done, left):
            woken = client
        if clock.system_now() >= deadline:
            break
    if woken is not None:
        woken.hand_on()
    return handle.done()


def _refuse_to_wait_for_myself(handle: DeliveryHandle) -> None:
    """A message from a re-entrant call is sent when the interrupted call ends."""
    blocked = handle._client.blocked
    if handle._seq == -get_ident() and blocked is not None and blocked():
        raise ReentrantCallError(
            "this message is sent when the interrupted call ends; its report cannot "
            "be waited for inside it"
        )


def serve_until(client: Client, done: Callable[[], bool], deadline: float) -> bool:
    """Serve the reports of `client` until `done()` or `deadline`, if the turn is free.

    False when another thread has the turn.

    Raises:
        ReentrantCallError: this thread itself has the turn, further down.
    """
    ticket = Ticket()
    try:
        if not client.poll_lock.take(ticket):
            if client.polled_by_this_thread():
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
    if not client.polled_by_this_thread():
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
    client: Client, handle: DeliveryHandle | None, done: Callable[[], bool], wait: float
) -> bool:
    """Wait for the turn, or for the outcome; whether the turn's bell was rung.

    The bell is hung up first and the turn looked at second; `Client.leave`
    releases first and looks for bells second: one of the two sees the other.
    Whoever was rung and does not serve afterwards hands on
    (test_a_waiter_that_gives_up_wakes_the_next).
    """
    wakeup = Wakeup()
    if handle is not None:
        watchers.wake(handle, wakeup)
    client.waiters.append(wakeup)
    try:
        busy = client.poll_lock.taken or client.native is None
        if busy and not done() and not wakeup.wait(min(wait, _RECHECK)):
            client.poll_lock.heal()
    except BaseException:
        if _take_down(client, handle, wakeup):
            client.hand_on()
        raise
    return _take_down(client, handle, wakeup)


def _take_down(client: Client, handle: DeliveryHandle | None, wakeup: Wakeup) -> bool:
    """Wait no more; whether the turn's bell was rung."""
    if handle is not None:
        watchers.unwake(handle, wakeup)
    try:
        client.waiters.remove(wakeup)
    except ValueError:
        return True
    return False


def _listen(handle: DeliveryHandle, wait: float) -> None:
    wakeup = Wakeup()
    watchers.wake(handle, wakeup)
    try:
        wakeup.wait(wait)
    finally:
        watchers.unwake(handle, wakeup)
