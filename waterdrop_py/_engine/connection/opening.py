"""Opening: the client for whoever needs one, and what is told of it afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.kafka_errors import produce_error, refusal_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Ticket
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection import discovery
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.connection.due import close_due
from waterdrop_py._engine.connection.late import LateDelivery
from waterdrop_py._engine.connection.states import ConnectionState
from waterdrop_py._engine.connection.teardown import destroy_unready
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.process.runtime import RUNTIME

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.connection import Connection


def open_noted(connection: Connection, deadline: float | None) -> Client:
    """`open_client`, and have the deadline of the client noted."""
    try:
        return open_client(connection, deadline)
    finally:
        if connection.unnoted:
            connection.reschedule()


def open_client(connection: Connection, deadline: float | None) -> Client:
    """The open client, opened if need be. Mark `borrows`, and look again.

    The caller sees to `introduce` whatever is raised. That may start threads, and
    comes behind the message: one that meets librdkafka between its first connect
    and its first metadata waits 50 ms (half of reconnect.backoff.ms) for the next
    look.

    A client that has been idle, or open, for too long is replaced here, for
    the case that the reaper was late or the process was suspended.

    Raises:
        ProducerClosedError, ReentrantCallError, DeliveryTimeoutError (another
        thread's open took longer than `deadline`); ProduceError (librdkafka could
        not start, or a fatal error stays); or what a client factory raised.
    """
    check()
    while True:
        client = connection.client
        if client.fatal is not None:
            connection.lose_if_final(client)
        connection.refuse_lost()
        if client is not NO_CLIENT:
            reason = connection.policy.expired(client)
            if reason is None or disconnect(connection, reason).refusals:
                return client
            continue
        connection.refuse_closed()
        ticket = Ticket()
        try:
            if connection.lock.take(ticket):
                if connection.state is ConnectionState.EMPTY:
                    return _open(connection, deadline)
                continue
        finally:
            connection.release(ticket)
        connection.lock.wait(deadline, connection.reports.checklist)


def introduce(connection: Connection) -> None:
    """Have the deadline of a new client noted, by the poller: its thread is needed
    anyway, and starts the reaper's where no thread waits for that.

    As with `reschedule`, whatever a signal handler raises meanwhile. Where no
    thread can run, what was sent is delivered here.
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
    """Deliver what was sent where no thread can run. Does nothing inside a callback of
    the client: the thread that serves that waits for this message too."""
    client, runtime = connection.client, connection.runtime
    if client.polled_by_this_thread():
        return
    late = connection.late
    if late is None:
        late = connection.late = LateDelivery(
            connection.emitter, connection.close_timeout
        )
    try:
        late.deliver(client, push=connection.factory.lingers)
        # No reaper comes for the client, and a fork in C would hand its sockets on.
        if not runtime.ended and connection.close_before_fork is not None:
            disconnect(connection, "fork")
    finally:
        if runtime.ended:
            LOG.flush()  # nothing comes behind it that would


def _open(connection: Connection, deadline: float | None) -> Client:
    """Open a client. Lock held; a failed open leaves the connection as it was."""
    ledger, runtime = connection.ledger, connection.runtime
    reopened = ledger.opens > 0
    started = clock.system_now()
    client = Client(connection.reports, runtime.poller.poll_soon)
    connection.move(ConnectionState.OPENING)
    try:
        runtime.register(connection)
        runtime.closes.note_move()
        connection.emitter.emit("producer.connecting")
        _construct(connection, client)
        _make_ready(connection, client, deadline)
        client.on_settled = connection.reschedule
        client.unobserved = connection.reports.unobserved
        client.noted = not connection.policy.limits
        took_ms = (clock.system_now() - started) * 1000
        ledger.opened(client, took_ms)
        # The mark keeps the client while `connected` is told of, so that its end is
        # not told before its beginning.
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
    """The opening failed. What there is of a client is destroyed here and now.

    Else the garbage collector would, and what a signal handler raises meanwhile
    would come out of no verb (test_handler_that_raises).
    """
    try:
        if client.native is not None:
            destroy_unready(client)
    finally:
        connection.move(ConnectionState.EMPTY)


def _construct(connection: Connection, client: Client) -> None:
    """Construct the native client, at no moment at which another thread forks."""
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
    """A client that cannot be made ready is closed, and leaves nothing behind.

    The poller may serve it by now: a close waits for the poll lock, as any other does.
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
