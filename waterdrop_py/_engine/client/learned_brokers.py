"""The brokers that a producer's clients have learned, beside `bootstrap.servers`."""

from __future__ import annotations

import random
import re
from functools import lru_cache
from typing import Any, Final

from waterdrop_py._settings.librdkafka import SERVERS
from waterdrop_py._settings.reading import given
from waterdrop_py.errors import WaterdropError

MOST: Final = 10
"""Brokers that a client is given at most; librdkafka tries one after another. When only
the user's own still exist, the first message takes 0.06 s with 3 others and 4.6 s with
30 (median, 2.16)."""
_HOST: Final = re.compile(r"[A-Za-z0-9._:%-]{1,255}", re.ASCII)
_HIGHEST_PORT: Final = 65535


class Brokers:
    """The brokers that the clients of one producer have learned.

    Thread-safe: each change is one assignment.

    Attributes:
        servers: `host:port` of each broker of the newest metadata.
    """

    __slots__ = ("_cluster", "servers")

    def __init__(self) -> None:
        self.servers: tuple[str, ...] = ()
        self._cluster: str | None = None

    def forget(self) -> None:
        """Forget them all, and accept whatever cluster answers next."""
        self.servers, self._cluster = (), None

    def take(self, metadata: Any) -> WaterdropError | None:
        """Keep the brokers of an answer.

        Returns an error, and forgets them all, when another cluster has answered: the
        address of a broker may belong to others by now.
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
        """Append them to the servers in a client's properties, after the user's."""
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
    """The same objects for all producers of a cluster, to save memory."""
    return cluster, servers


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
