"""Asking each client for the brokers of its cluster, for the clients after it.

A new client knows `bootstrap.servers` only. One that stayed open knows every broker of
the cluster, and still works when the configured ones are gone. So the library asks each
client for the cluster's metadata after its first report.
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
"""Seconds after which a client that has not answered is asked again."""
SHORTEST: Final = 0.3
LONGEST: Final = 5.0
"""Seconds of one request. A close of the client waits for the answer, so a client that
delivered its first message quickly gets little time."""


def watch(connection: Connection, client: Client) -> None:
    """Have `client` asked after its first report, unless it is a test double."""
    if native_of(client.native) is not None:
        client.asking.ask_after_report(partial(ask_soon, connection))


def ask_soon(connection: Connection, client: Client) -> None:
    """A report has come, and `client` is due to be asked.

    The poller submits the request, so that no thread starts on the caller's time. It is
    repeated until there is an answer, at most once in AGAIN seconds.
    """
    client.asking.ask_again_in(AGAIN)
    connection.runtime.poller.do(partial(learn, connection, client))


def learn(connection: Connection, client: Client) -> None:
    """Have a worker ask `client` for the brokers of its cluster.

    Returns at once. The request ends before the client falls due. It is not activity,
    and does not keep the client open (test_a_close_waits_for_the_question).
    """
    topic, wait = connection.topic, _wait(connection, client)
    if connection.client is client and topic is not None and wait > 0:
        ask_aside(connection, topic, wait)


def _wait(connection: Connection, client: Client) -> float:
    """Seconds of the request."""
    now, due = clock.now(), connection.due_at()
    left = inf if due is None else due - now
    return min(left, LONGEST, max(SHORTEST, now - client.opened_at))
