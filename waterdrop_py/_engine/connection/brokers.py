"""The brokers that a producer's clients learn, for those that are opened later.

A new client knows `bootstrap.servers` only. One that stayed open knows every broker of
the cluster, and goes on when those that were configured are gone. So the library asks
each client for the cluster's metadata once it has reported a message.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache, partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.client.foreign import native_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection import metadata
from waterdrop_py._settings.librdkafka import SERVERS
from waterdrop_py._settings.reading import given
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection

MOST: Final = 10
"""Brokers that are offered to a client, at most. librdkafka tries one after another.
When all are gone but the user's own, the first message takes 0.06 s with 3 of them and
4.6 s with 30, at the median (2.16)."""
EVERY: Final = 300.0
"""Seconds after which a client that stays open, and is used, is asked again."""
AGAIN: Final = 5.0
"""Seconds after which it is asked again when it has not answered."""
SHORTEST: Final = 0.3
LONGEST: Final = 5.0
"""Seconds of one question. A close of the client waits for its answer, so a client
that was quick to deliver its first message gets a short time."""
_HOST: Final = re.compile(r"[A-Za-z0-9._:%-]{1,255}", re.ASCII)
_HIGHEST_PORT: Final = 65535


class Brokers:
    """What the clients of one producer have learned. Thread-safe: each change is one
    assignment.

    Attributes:
        servers: `host:port` of each broker of the newest metadata.
    """

    __slots__ = ("_cluster", "servers")

    def __init__(self) -> None:
        self.servers: tuple[str, ...] = ()
        self._cluster: str | None = None

    def forget(self) -> None:
        """Offer none any more, and take whatever cluster answers next."""
        self.servers, self._cluster = (), None

    def take(self, metadata: Any) -> WaterdropError | None:
        """Keep the brokers of an answer.

        Returns an error, and forgets all, when another cluster has answered: the
        address of a broker may belong to a stranger by now.
        """
        cluster, known = metadata.cluster_id, self._cluster
        if cluster and known and cluster != known:
            self.forget()
            return WaterdropError(
                f"cluster {cluster!r} answered where {known!r} had answered before: "
                "its brokers are forgotten, and the next client knows "
                "bootstrap.servers only"
            )
        found = [
            server
            for broker in metadata.brokers.values()
            if (server := _server(broker.host, broker.port)) is not None
        ]
        if found:
            if len(found) > MOST:
                found = random.sample(found, MOST)
            self._cluster, self.servers = _shared(cluster or known, tuple(found))
        return None

    def add_to(self, conf: dict[str, Any]) -> None:
        """Append them to the servers of a client's properties, behind the user's."""
        learned = self.servers
        places = given(conf, SERVERS)
        if not learned or not places:
            return
        name, value = places[-1]
        own = {_address(server) for server in str(value).split(",")}
        others = [server for server in learned if _address(server) not in own]
        conf[name] = ",".join([str(value), *others])


@lru_cache(maxsize=64)
def _shared(
    cluster: str | None, servers: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """The same objects for all producers of a cluster: a thousand of them keep one."""
    return cluster, servers


def watch(connection: Connection, client: Client) -> None:
    """Have `client` asked after its first report. A double has no cluster to ask."""
    if native_of(client.native) is not None:
        client.ask, client.ask_at = partial(ask_soon, connection), 0.0


def ask_soon(connection: Connection, client: Client) -> None:
    """A report has come, and `client` is due to be asked for its brokers.

    By way of the poller, so that no thread is started on the caller's time. Until it
    has answered it is asked again, at most once in AGAIN.
    """
    client.ask_at = clock.now() + AGAIN
    connection.runtime.poller.do(partial(learn, connection, client))


def learn(connection: Connection, client: Client) -> None:
    """Have `client` asked for the brokers of its cluster, on a library thread.

    Returns at once. The question ends before the client falls due. It is not activity,
    and stands against no close (test_a_close_waits_for_the_question).
    """
    topic, wait = connection.topic, _wait(connection, client)
    if connection.client is client and topic is not None and wait > 0:
        metadata.ask_aside(connection, topic, wait)


def note(connection: Connection, client: Client, answer: Any) -> None:
    """Keep the brokers of an answer of `client`."""
    if client.ask is None or not hasattr(answer, "cluster_id"):
        return  # a double's
    client.ask_at = clock.now() + EVERY
    error = connection.factory.brokers.take(answer)
    if error is not None:
        client.ask_at = inf  # it may be the stranger's client
        connection.emitter.error("librdkafka.error", error)


def _wait(connection: Connection, client: Client) -> float:
    """Seconds of the question."""
    now, due = clock.now(), connection.due_at()
    left = inf if due is None else due - now
    return min(left, LONGEST, max(SHORTEST, now - client.opened_at))


def _server(host: str, port: int) -> str | None:
    if not _HOST.fullmatch(host) or not 0 < port <= _HIGHEST_PORT:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(server: str) -> str:
    """A server as librdkafka reads it: without its scheme, and with a port."""
    address = server.rpartition("://")[2].strip().lower()
    host, _, port = address.rpartition(":")
    has_port = port.isdigit() and (":" not in host or host.endswith("]"))
    return address if has_port else f"{address}:9092"
