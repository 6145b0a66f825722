"""How a thread waits for a report: it polls the client unless another thread does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client import watchers
from waterdrop_py._engine.client.poll_lock import SLICE
from waterdrop_py._engine.concurrency import clock, cooperative, threads
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.concurrency.wakeup import Wakeup, sleep
from waterdrop_py.errors import ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.client.watchers import Pending

BRIEF: Final = 0.002
"""Seconds that the thread which polls waits for the worker, before the poller polls
instead. To wake that too takes as long as most callbacks do."""
SETTLED: Final = 0.05
"""Seconds to wait for a worker that settles what has arrived."""
_RECHECK: Final = 0.5
"""Seconds after which a waiting thread looks again although it was not woken."""
_SHARE: Final = 0.06
_SHORTEST: Final = 0.000_5
"""A greenlet that waits for no single message looks again after this share of the time
that it has waited, and not before these seconds."""


def leaves_polling() -> bool:
    """Whether the poller serves what the caller waits for, as under gevent.

    A native poll would stop the hub, and all greenlets of the thread with it.
    """
    return cooperative.hub_of_thread() is not None and threads.can_start()


def wait_once(
    client: Client, handle: Pending, deadline: float, woken: Client | None
) -> Client | None:
    """Serve reports until `handle` has its outcome, or wait while another thread does.

    Waits once; the caller looks again. `woken` is the client that this thread was woken
    to poll and has not polled yet. Returns the one of which that is true now; a caller
    that stops then wakes the next thread.
    """
    left = deadline - clock.system_now()
    if leaves_polling():
        _wait_for_poller(client, handle, left)
        return woken
    if serve_until(client, handle.done, deadline):
        return None
    if _queue_up(client, handle, handle.done, left):
        return client
    return woken


def serve_until(client: Client, done: Callable[[], bool], deadline: float) -> bool:
    """Serve the reports of `client` until `done()` or `deadline`.

    False when another thread polls it, or a worker settles what has arrived.

    Raises:
        ReentrantCallError: this thread polls it, or settles what has arrived, further
            down its stack.
    """
    hold = Hold()
    try:
        _refuse_inside_a_poll(client)
        if client.unsettled:
            client.settle_here()
        if left_to_a_worker(client) or not client.poll_lock.take(hold):
            return False
        if client.native is None:
            return False
        return _poll_until(client, done, deadline)
    finally:
        client.stop_polling(hold)


def _poll_until(client: Client, done: Callable[[], bool], deadline: float) -> bool:
    while not done():
        wait = min(SLICE, max(0.0, deadline - clock.system_now()))
        client.serve(wait)
        if client.unsettled and not (done() or client.wait_settled(BRIEF)):
            return False
        if wait <= 0 or client.native is None:
            break
        if client.reports.foreign and not done():
            client.check_quiet()  # its report may never come
    return True


def left_to_a_worker(client: Client) -> bool:
    """Whether the caller must wait for a worker: it settles what has arrived, or polls
    what may call the user's token provider."""
    if client.unsettled:
        return True
    if not client.poll_calls_users_code or threads.forbidden():
        return False
    client.poll_soon(client)
    return True


def _refuse_inside_a_poll(client: Client) -> None:
    if client.served_here:
        raise ReentrantCallError(
            "a call that waits for delivery reports was made inside a "
            "callback or subscriber of the same client, which holds them up"
        )


def serve_arrived(client: Client) -> None:
    """Serve what has arrived, unless another thread does; waits at most SETTLED.

    The cause of a failed metadata request comes through `error_cb`, not with its
    exception.
    """
    if client.served_here:
        return
    if leaves_polling():
        client.poll_soon(client)
        return
    serve_until(client, lambda: False, clock.system_now())
    wait_settled(client)


def wait_settled(client: Client) -> None:
    """Wait at most SETTLED for the worker that settles what has arrived."""
    if client.unsettled and not client.served_here:
        client.settle_here()
        _queue_up(client, None, lambda: not client.unsettled, SETTLED)


def wait_serving(
    client: Client, done: Callable[[], bool], deadline: float, idle: float = SLICE
) -> bool:
    """Wait until `done()` or `deadline`, and serve while no other thread does."""
    if leaves_polling():
        _leave_to_poller(client, done, deadline)
    woken = False
    while not done() and clock.system_now() < deadline:
        if serve_until(client, done, deadline):
            woken = False
        else:
            left = min(idle, max(0.0, deadline - clock.system_now()))
            woken = _queue_up(client, None, done, left)
    if woken:
        client.pass_on_polling()
    return done()


def _wait_for_poller(client: Client, handle: Pending, wait: float) -> None:
    """Wait until the poller has served the report of `handle`.

    It looks at quiet clients once a second only. So it is told of this one where the
    report takes long.
    """
    _refuse_inside_a_poll(client)
    if not watchers.wait(client, handle, min(wait, _RECHECK)):
        client.poll_soon(client)


def _leave_to_poller(client: Client, done: Callable[[], bool], deadline: float) -> None:
    """Wait until `done()` or `deadline`, or until no thread can poll."""
    _refuse_inside_a_poll(client)
    began = clock.system_now()
    client.poll_soon(client)
    while leaves_polling() and not done():
        now = clock.system_now()
        if now >= deadline:
            break
        pause = min(SLICE, max(_SHORTEST, _SHARE * (now - began)))
        sleep(min(pause, deadline - now))


def _queue_up(
    client: Client, handle: Pending | None, done: Callable[[], bool], wait: float
) -> bool:
    """Wait for the poll lock or the outcome; whether this thread was woken to poll.

    The wake-up is added first and the lock looked at second. `Client.stop_polling`
    releases first and wakes second, so one of the two sees the other. A thread that was
    woken and does not poll wakes the next (test_a_waiter_that_gives_up_wakes_the_next).
    """
    wakeup = Wakeup()
    if handle is not None:
        watchers.add_wakeup(client, handle, wakeup)
    client.poll_lock.waiters.append(wakeup)
    try:
        busy = (
            client.poll_lock.locked or client.native is None or left_to_a_worker(client)
        )
        if busy and not done():
            wakeup.wait(min(wait, _RECHECK))
    except BaseException:
        if _take_down(client, handle, wakeup):
            client.pass_on_polling()
        raise
    return _take_down(client, handle, wakeup)


def _take_down(client: Client, handle: Pending | None, wakeup: Wakeup) -> bool:
    """Remove the wake-up; whether this thread was woken to poll."""
    if handle is not None:
        watchers.remove_wakeup(handle, wakeup)
    try:
        client.poll_lock.waiters.remove(wakeup)
    except ValueError:
        return True
    return False
