"""Opening a client on demand, and telling the background threads of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.kafka_errors import produce_error, refusal_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.concurrency.users_code import note_caller
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection import discovery
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.connection.disconnecting import disconnect, restore
from waterdrop_py._engine.connection.due import close_due
from waterdrop_py._engine.connection.late import LateDelivery
from waterdrop_py._engine.connection.ledger import Came
from waterdrop_py._engine.connection.states import ConnectionState
from waterdrop_py._engine.connection.teardown import destroy_unready
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.process.runtime import RUNTIME

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.connection import Connection

_TICK: Final = 0.001
"""Seconds between two looks whether the client before is destroyed; that takes 1 to 3
ms."""


def open_noted(
    connection: Connection, deadline: float | None, *, use: bool = True
) -> Client:
    """`open_client`, and tell the reaper of a new client."""
    try:
        return open_client(connection, deadline, use=use)
    finally:
        if connection.unnoted:
            connection.reschedule()


def open_client(
    connection: Connection, deadline: float | None, *, use: bool = True
) -> Client:
    """The open client, opened if need be.

    `use`: it is opened for a message, a transaction or `connect()`. Such a use ends an
    idle gap, and what it waits for the client is counted as the time of a re-open.

    The caller adds a mark to its `borrows`, and checks that it is still the client of
    the connection. It calls `introduce` after its message, whatever is raised.

    A client that has been idle, or open, for too long is replaced here: the reaper may
    be late, or the process was suspended.

    Raises:
        ProducerClosedError: the producer is closed, or closing.
        ReentrantCallError: this thread is opening or closing the client.
        DeliveryTimeoutError: another thread's open took longer than `deadline`.
        ProduceError: librdkafka could not start, or a fatal error stays.
        And whatever a client factory raised.
    """
    check()
    came: Came | None = None
    while True:
        client = connection.client
        if client.fatal is not None:
            connection.keep_fatal_error_if_final(client)
        connection.refuse_after_fatal_error()
        if client is not NO_CLIENT:
            reason = connection.policy.expired(client)
            if reason is None or disconnect(connection, reason).refusals:
                return client
            continue
        connection.refuse_closed()
        if came is None:
            came = Came(clock.now(), clock.system_now(), use)
        _wait_for_the_one_before(connection, deadline)
        hold = Hold()
        try:
            if connection.lock.take(hold):
                restore(connection)
                if connection.state is ConnectionState.EMPTY:
                    return _open(connection, deadline, came)
                continue
        finally:
            connection.release(hold)
        connection.lock.wait(deadline, connection.reports.checklist)


def _wait_for_the_one_before(connection: Connection, deadline: float | None) -> None:
    """With a `transactional.id`, wait until the client before is destroyed.

    The next one registers the same id, and no two clients of it may be open at a
    time. At most `close_timeout`, for a close that hangs; not at all where that close
    would wait for this thread
    (test_no_second_client_of_an_id_before_the_first_is_closed).
    """
    closing = connection.teardown
    if closing is None or not connection.factory.is_transactional:
        return
    until = clock.system_now() + connection.close_timeout
    until = until if deadline is None else min(until, deadline)
    while (
        connection.teardown is closing
        and clock.system_now() < until
        and not closing.waits_for_caller()
    ):
        closing.retry_if_stuck()
        sleep(_TICK)


def introduce(connection: Connection) -> None:
    """Tell the background threads of a new client, after its first message.

    This may start threads. A message that reaches a new client between its first
    connection and its first metadata response waits 50 ms (half of
    `reconnect.backoff.ms`). The poller tells the reaper, so that this thread starts one
    thread only. Repeated where a signal handler raises meanwhile.

    Where no thread can run, this delivers what was sent.
    """
    poller = connection.runtime.poller
    if connection.runtime.without_threads:
        _deliver_now(connection)
    elif connection.unnoted:
        try:
            poller.do(connection.reschedule)
        except BaseException:
            poller.do(connection.reschedule)
            raise


def _deliver_now(connection: Connection) -> None:
    """Deliver what was sent, where no thread can run.

    Does nothing inside a callback of the client: the poll around that callback serves
    this message too.
    """
    client, runtime = connection.client, connection.runtime
    if client.served_here:
        return
    late = connection.late
    if late is None:
        late = connection.late = LateDelivery(
            connection.emitter, connection.close_timeout
        )
    try:
        late.deliver(client, push=connection.factory.lingers)
        connection.send_deferred()
        # No reaper closes it, and a child forked in C would inherit its sockets.
        if not runtime.ended and connection.close_before_fork is not None:
            disconnect(connection, "fork")
    finally:
        if runtime.ended:
            LOG.flush()  # no later code does


def _open(connection: Connection, deadline: float | None, came: Came) -> Client:
    """Open a client. Lock held. A failed open leaves the connection as it was."""
    ledger, runtime = connection.ledger, connection.runtime
    reopened = ledger.opens > 0
    started = clock.system_now()
    note_caller()
    client = Client(
        connection.reports,
        runtime.poller.poll_soon,
        runtime.run_users_code,
        runtime.blocking_pollers.attend,
    )
    try:
        connection.move(ConnectionState.OPENING)
        runtime.register(connection)
        runtime.closes.note_move()
        connection.emitter.emit("producer.connecting")
        _construct(connection, client)
        _make_ready(connection, client, deadline)
        client.opened(connection.reschedule, limited=connection.policy.limits)
        took_ms = (clock.system_now() - started) * 1000
        ledger.opened(client, took_ms, came)
        # The lock keeps the client open until `producer.connected` was emitted, so that
        # `producer.disconnecting` comes after it. The mark is what `blockers` says of
        # that (test_a_disconnect_while_connected_is_told_of).
        client.borrows.append(None)
        connection.move(ConnectionState.OPEN)
        connection.client = client
    except BaseException:
        _give_up(connection, client)
        raise
    try:
        connection.refresh()
        runtime.closes.note_move()
        connection.emitter.emit(
            "producer.connected", {"reopened": reopened}, duration_ms=took_ms
        )
    finally:
        client.borrows.pop()
    return client


def _give_up(connection: Connection, client: Client) -> None:
    """Destroy what a failed open has made, here and now.

    Otherwise the garbage collector would, and an exception that a signal handler raises
    then would come out of no verb (test_handler_that_raises).
    """
    try:
        if client.native is not None:
            destroy_unready(client)
    finally:
        if connection.state is not ConnectionState.EMPTY:
            connection.move(ConnectionState.EMPTY)


def _construct(connection: Connection, client: Client) -> None:
    """Construct the native client, while no other thread forks."""
    fork_guard = connection.runtime.fork_guard
    try:
        fork_guard.begin_open()
        try:
            connection.factory.open(client, connection.reports)
        finally:
            fork_guard.end_open(client)
        discovery.watch(connection, client)
    except KafkaException as error:
        raise produce_error(
            refusal_of(error),
            subject="the client could not be opened; nothing was sent: ",
            checklist=connection.reports.checklist(),
        ) from error


def _make_ready(connection: Connection, client: Client, deadline: float | None) -> None:
    """Prepare the client for its first use, or close it where that fails.

    The poller may poll it already, so that close takes the poll lock too.
    """
    prepare = connection.hooks.prepare
    if prepare is None:
        return
    try:
        prepare(client, deadline)
    except BaseException:
        destroy_unready(client)
        connection.runtime.closes.note_move()
        raise


RUNTIME.on_due(close_due)
