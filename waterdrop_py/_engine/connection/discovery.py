"""Has each client asked for the brokers of its cluster, for those that come after it.

A new client knows `bootstrap.servers` only. One that stayed open knows every broker of
the cluster, and goes on when those that were configured are gone. So the library asks
each client for the cluster's metadata once it has reported a message.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.client.foreign import native_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection.metadata_request import ask_aside

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection

AGAIN: Final = 5.0
"""Seconds after which it is asked again when it has not answered."""
SHORTEST: Final = 0.3
LONGEST: Final = 5.0
"""Seconds of one question. A close of the client waits for its answer, so a client
that was quick to deliver its first message gets a short time."""


def watch(connection: Connection, client: Client) -> None:
    """Have `client` asked after its first report. A double has no cluster to ask."""
    if native_of(client.native) is not None:
        client.asking.ask_after_report(partial(ask_soon, connection))


def ask_soon(connection: Connection, client: Client) -> None:
    """A report has come, and `client` is due to be asked for its brokers.

    By way of the poller, so that no thread is started on the caller's time. Until it
    has answered it is asked again, at most once in AGAIN.
    """
    client.asking.ask_again_in(AGAIN)
    connection.runtime.poller.do(partial(learn, connection, client))


def learn(connection: Connection, client: Client) -> None:
    """Have `client` asked for the brokers of its cluster, on a library thread.

    Returns at once. The question ends before the client falls due. It is not activity,
    and stands against no close (test_a_close_waits_for_the_question).
    """
    topic, wait = connection.topic, _wait(connection, client)
    if connection.client is client and topic is not None and wait > 0:
        ask_aside(connection, topic, wait)


def _wait(connection: Connection, client: Client) -> float:
    """Seconds of the question."""
    now, due = clock.now(), connection.due_at()
    left = inf if due is None else due - now
    return min(left, LONGEST, max(SHORTEST, now - client.opened_at))
