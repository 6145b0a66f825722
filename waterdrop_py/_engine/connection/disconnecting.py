"""Whether a client may be closed now, and its detaching: idle, on request, on error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.connection.ledger import Release
from waterdrop_py._engine.connection.states import ConnectionState, Refusal
from waterdrop_py._engine.connection.teardown import Teardown
from waterdrop_py._engine.reports.giving_up import GIVE_UP, give_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.batch import TeardownBatch
    from waterdrop_py._engine.connection.connection import Connection


class Disconnection(NamedTuple):
    """What became of an attempt to disconnect."""

    teardown: Teardown | None
    refusals: list[Refusal]


def disconnect_on_worker(connection: Connection, timeout: float) -> bool:
    """Disconnect on request, on a worker; whether the client is closed.

    Waits for that for at most `timeout` seconds; inside a callback of the client only
    for the decision, which waits for no other thread.
    """
    check()
    client = connection.client
    if client is NO_CLIENT:
        return False
    deadline = clock.system_now() + timeout
    decided: Future[Disconnection] = Future(
        lambda: disconnect(connection, "requested", decided=decided.resolve)
    )
    try:
        connection.runtime.workers.wait(decided, deadline)
    finally:
        # Not later, when the caller does not expect it any more
        # (test_an_interrupted_request_is_taken_back).
        decided.cancel()
    if not decided.done:
        return False
    teardown = decided.result().teardown
    if teardown is None:
        return False
    if not client.served_here:
        teardown.wait(deadline - clock.system_now())
    return True


def disconnect_here(connection: Connection, timeout: float) -> bool:
    """`disconnect_on_worker`, on the calling thread, which is a worker's."""
    deadline = clock.system_now() + timeout
    teardown = disconnect(connection, "requested").teardown
    if teardown is None:
        return False
    teardown.wait(deadline - clock.system_now())
    return True


def disconnect(
    connection: Connection,
    reason: str,
    batch: TeardownBatch | None = None,
    *,
    decided: Callable[[Disconnection], None] | None = None,
) -> Disconnection:
    """Detach the client and have a worker close it, if that is safe; else say why not.

    Returns at once, while the close is in progress. `decided` is told before any
    subscriber is.
    """
    check()
    client = connection.client
    if client is NO_CLIENT:
        code = "closed" if connection.is_closing else "not_connected"
        return Disconnection(None, [Refusal(code, 0)])
    _poll_before_deciding(client)
    disconnection = _detach_if_safe(connection, client, reason, batch)
    if decided is not None:
        decided(disconnection)
    teardown = disconnection.teardown
    if teardown is None:
        if batch is None or batch.silent:
            # The reaper may have found no client while this one was detached, and
            # forgotten the connection. `disconnect_if_due` reschedules by itself.
            # (test_a_disconnect_that_is_refused_as_the_client_is_made_known)
            connection.reschedule()
        return disconnection
    try:
        connection.reschedule()
        if batch is None or not batch.silent:
            connection.emitter.emit("producer.disconnecting", {"reason": reason})
    finally:
        teardown.begin()  # the client is detached, whatever a subscriber raises
    return disconnection


def disconnect_if_due(connection: Connection, batch: TeardownBatch) -> None:
    """Close the client if it is due and safe to close.

    Each reason of a refusal is emitted once, until the client is active again.
    """
    client = connection.client
    due = connection.due_at()
    now = clock.now()
    if due is None or due > now:
        batch.skip()
        connection.reschedule()
        return
    reason = connection.policy.reason(client, now)
    refusals = disconnect(connection, reason, batch).refusals
    if not refusals:
        return
    batch.skip()
    for refusal in refusals:
        if refusal.code in client.refusals or refusal.code == "not_due":
            continue
        client.refusals.add(refusal.code)
        connection.emitter.emit(
            "producer.disconnect_refused",
            {
                "reason": refusal.code,
                "count": refusal.count,
                "age_ms": refusal.age_ms,
                "owner": refusal.owner,
            },
        )
    # 1. A reason is found, and ends before it is noted in `client.refusals`.
    # 2. What ended it found no note, and did not reschedule. So it is checked again
    #    (test_refusal_that_ends_while_it_is_noted).
    # Messages of `native()` are not counted in `blockers`. The poller serves them, and
    # reschedules (test_a_message_of_native_is_waited_for_without_looking).
    if not blockers(connection, client) and (client.quiet or not client.pins.ever):
        connection.reschedule()


def discard(connection: Connection, client: Client) -> None:
    """Close a client after a fatal error, whatever it still has.

    Its messages end with the error that librdkafka reports, or as given up. Blocks for
    at most a second, and for the close of the previous client.
    """
    earlier = connection.teardown
    if earlier is not None:
        earlier.wait(connection.close_timeout)
    teardown = _detach_lost(connection, client)
    if teardown is None:
        return
    try:
        connection.emitter.emit("producer.disconnecting", {"reason": "reload"})
        give_up(client, clock.system_now() + GIVE_UP)
    finally:
        teardown.begin()
    if not client.pins:  # this very thread may be inside `native()`
        teardown.wait(connection.close_timeout)


def blockers(connection: Connection, client: Client) -> list[Refusal]:
    """Why this client may not be closed now; empty if it may.

    Uses our own counters and not the native client's `len`. That counts events too, and
    must not be called while another thread destroys the client.
    """
    refusals = []
    # Marks first, messages second: a sender that removes its mark between the two has
    # its message counted by then (test_send_that_ends_between_the_two_looks).
    calls = len(client.borrows) + len(client.asking.callers)
    calls += connection.hooks.calls_waiting
    if waiting := client.in_flight():
        age_ms = (clock.now() - client.last_activity) * 1000
        refusals.append(Refusal("in_flight", waiting, age_ms))
    teardown = connection.teardown
    if teardown is not None:
        teardown.retry_if_stuck()
    if calls or teardown is not None:
        refusals.append(Refusal("call", max(1, calls)))
    if pins := list(client.pins):
        age_ms = (clock.now() - pins[0].since) * 1000
        refusals.append(Refusal("pinned", len(pins), age_ms, pins[0].owner))
    return refusals + connection.hooks.refusals()


def teardown_of(
    connection: Connection,
    client: Client,
    reason: str,
    batch: TeardownBatch | None = None,
) -> Teardown:
    """The close of `client`, not begun yet."""
    return Teardown(
        connection.runtime,
        connection.emitter,
        client,
        reason,
        partial(_gone, connection),
        Release(connection.ledger, connection.factory.servers),
        close_timeout=connection.close_timeout,
        batch=batch,
    )


def _gone(connection: Connection, teardown: Teardown) -> None:
    """The client of `teardown` is destroyed, or its close is given up."""
    if connection.teardown is teardown:
        connection.teardown = None
    if teardown.reason != "reload":
        connection.keep_fatal_error_if_final(teardown.client)
    connection.runtime.closes.note_move()
    connection.lock.wake()
    connection.reschedule()


def _detach_if_safe(
    connection: Connection, client: Client, reason: str, batch: TeardownBatch | None
) -> Disconnection:
    """Take the client out of the connection; put it back when that is not safe.

    1. A sender has read `connection.client`, and adds its mark to `borrows`.
    2. This sets NO_CLIENT, and then reads `borrows`.
    If the mark came first, this sees it. If not, the sender reads `client` again after
    its mark, finds another one, and begins anew
    (test_send_between_the_look_and_the_close).

    It is put back wherever the last step was not reached. A signal handler may have
    raised, and an OPEN connection without its client would keep every send waiting for
    good (test_interrupt_while_the_client_is_detached).
    """
    hold = Hold()
    try:
        if not connection.lock.take(hold) or connection.client is not client:
            return Disconnection(None, [Refusal("call")])
        connection.client = NO_CLIENT
        refusals = _refusals(connection, client, reason)
        if refusals:
            return Disconnection(None, refusals)
        teardown = teardown_of(connection, client, reason, batch)
        connection.ledger.closed(client, reason, teardown.release)
        connection.keep_fatal_error_if_final(client)
        connection.teardown = teardown
        connection.move(ConnectionState.EMPTY)
        return Disconnection(teardown, [])
    finally:
        try:
            _put_back_if_open(connection, client, hold)
        except BaseException:  # a signal handler's: once more
            _put_back_if_open(connection, client, hold)
            raise
        finally:
            connection.release(hold)


def _refusals(connection: Connection, client: Client, reason: str) -> list[Refusal]:
    refusals = blockers(connection, client)
    # The lock is held, so no other thread can destroy the client meanwhile.
    if not refusals and (theirs := client.users_in_flight()):
        refusals.append(Refusal("in_flight", theirs))
    if not refusals and connection.policy.is_premature(client, reason):
        refusals.append(Refusal("not_due", 0))
    return refusals


def restore(connection: Connection) -> None:
    """Finish what a signal handler interrupted between two steps. Lock held.

    The thread that holds the lock sees an open in progress, or an OPEN connection
    without its client, only if the holder before it was interrupted
    (test_each_moment.py).
    """
    client = connection.ledger.book[1]
    if connection.state is ConnectionState.OPENING:
        connection.move(ConnectionState.EMPTY)
    elif client is not None:
        _put_back(connection, client)
    elif connection.state is ConnectionState.OPEN and connection.client is NO_CLIENT:
        connection.move(ConnectionState.EMPTY)


def _put_back_if_open(connection: Connection, client: Client, hold: Hold) -> None:
    if connection.lock.held_by(hold):
        _put_back(connection, client)


def _put_back(connection: Connection, client: Client) -> None:
    if connection.state is ConnectionState.OPEN and connection.client is NO_CLIENT:
        teardown = connection.teardown
        if teardown is not None and teardown.client is client:
            connection.teardown = None
        connection.client = client
        connection.refresh()


def _detach_lost(connection: Connection, client: Client) -> Teardown | None:
    hold = Hold()
    while connection.current_client is client:
        try:
            if connection.lock.take(hold):
                restore(connection)
            if connection.lock.held_by(hold) and connection.client is client:
                connection.client = NO_CLIENT
                teardown = teardown_of(connection, client, "reload")
                connection.ledger.closed(client, "reload", teardown.release)
                connection.teardown = teardown
                connection.move(ConnectionState.EMPTY)
                return teardown
        finally:
            connection.release(hold)
        hold = Hold()
        connection.lock.wait(None, connection.reports.checklist)
    return None


def _poll_before_deciding(client: Client) -> None:
    """Serve what has arrived: a report that was not polled counts as in flight."""
    for _ in range(3):
        hold = Hold()
        try:
            if not client.poll_lock.take(hold):
                return
            if client.native is None or not (client.arrived or len(client.native)):
                return
            client.serve(0.0)
        finally:
            client.stop_polling(hold)
        waiting.wait_settled(client)
        if client.unsettled:  # a callback takes long
            return
