"""What is sent while there is no thread of the library's: it is delivered at once.

There is none in uWSGI's master, as it forks in C, and none after the library's exit
handler. Handlers that were registered before the library was imported run after that
one, as `logging.shutdown` always does, and nothing comes behind them.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.reports import flush
from waterdrop_py._engine.reports.giving_up import GIVE_UP, give_up

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection


def deliver(connection: Connection) -> None:
    """Wait until what the client has is delivered; give up what is not in time.

    All that is sent late by one producer waits for at most its `close_timeout`
    together. Does nothing inside a callback of the client: whoever serves that waits
    for this message too.
    """
    client = connection.client
    if client.polled_by_this_thread():
        return
    try:
        _deliver(connection, client)
    finally:
        if connection.runtime.ended:
            LOG.flush()  # nothing comes behind it that would


def _deliver(connection: Connection, client: Client) -> None:
    if client.in_flight():
        _wait(connection, client)
    # No reaper comes for the client, and a fork in C would hand its sockets on.
    if not connection.runtime.ended and connection.close_before_fork is not None:
        connection.disconnect("fork")


def _wait(connection: Connection, client: Client) -> None:
    started = clock.system_now()
    flush.wait_until(
        client,
        lambda: not client.in_flight(),
        started + connection.late_budget,
        push=connection.factory.lingers,
    )
    # Before anything is said: a handler of logging may send that line by this producer.
    connection.late_budget = max(
        0.0, connection.late_budget - (clock.system_now() - started)
    )
    left = client.in_flight()
    if left:
        _give_up(connection, client, left)


def _give_up(connection: Connection, client: Client, left: int) -> None:
    """Said once for all, as at the exit, and not for each message."""
    told, connection.reports.exiting = connection.reports.exiting, True
    try:
        give_up(client, clock.system_now() + GIVE_UP)
    finally:
        connection.reports.exiting = told
    # A handler of logging may send this very line by this producer, and what is given
    # up of that is not said: it would have no end
    # (test_a_handler_that_sends_what_could_not_be_sent).
    if connection.late_saying:
        return
    connection.late_saying = True
    try:
        _say(connection, left)
    finally:
        connection.late_saying = False


def _say(connection: Connection, left: int) -> None:
    text = (
        f"producer {connection.emitter.producer_id!r} could not deliver "
        f"{left} message{'' if left == 1 else 's'} sent where no thread of "
        f"the library's can run: {connection.close_timeout:g} s (close_timeout) are "
        "for all of them together"
    )
    LOG.say(connection.emitter, logging.ERROR, text)
    with suppress(ResourceWarning):  # where warnings are errors
        warnings.warn(text, ResourceWarning, stacklevel=2)
