"""A loopback proxy that loses connections the way NATs and load balancers do."""

from __future__ import annotations

import threading
from types import TracebackType

from waterdrop_py._settings.redact import kind
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.testing._proxy_flow import Flow
from waterdrop_py.testing._proxy_loop import LOOPBACK, ProxyLoop
from waterdrop_py.testing.cluster import Broker, EmbeddedCluster

SUPPORTED_HOSTS = (LOOPBACK, "localhost")


class DroppingProxy:
    """Stands in front of a cluster, counts connections, and can lose them silently.

    One listener per broker. It replaces the brokers' addresses in responses by its own,
    so that clients never bypass it. A fetched message that happens to contain such an
    address in the protocol's binary form is changed too. Plaintext only.

    Takes an `EmbeddedCluster` or the `host:port,...` of EVERY broker of a cluster that
    advertises its brokers under exactly these names, each at 127.0.0.1 or localhost.

    All methods are thread-safe and block only briefly: the proxy's one thread executes
    them. They raise `RuntimeError` if the proxy is not running, and in a forked child.
    """

    def __init__(self, cluster: EmbeddedCluster | str) -> None:
        if not isinstance(cluster, EmbeddedCluster | str):
            raise InvalidArgumentError(
                "cluster: must be an EmbeddedCluster, or the host:port,... of one, got "
                f"{kind(cluster)}"
            )
        self._cluster = cluster
        self._lock = threading.Lock()  # protects `_loop`, so that only one is started
        self._loop: ProxyLoop | None = None

    def start(self) -> DroppingProxy:
        """Listen; returns self. Does nothing when it is running."""
        with self._lock:
            if self._loop is None:
                self._loop = ProxyLoop(_brokers(self._cluster))
        return self

    def close(self) -> None:
        """Close every connection and listener, and end the thread. Idempotent."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.end()

    def __enter__(self) -> DroppingProxy:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        loop = self._loop
        where = _servers(loop.brokers) if loop is not None else "not running"
        return f"<DroppingProxy {where}>"

    @property
    def bootstrap_servers(self) -> str:
        """What a client is configured with to go through the proxy."""
        return _servers(self._running().brokers)

    @property
    def brokers(self) -> list[Broker]:
        """The proxy's address for each broker."""
        return list(self._running().brokers)

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far, all brokers together.

        Exact: a connection whose `connect` has returned is counted.
        """
        loop = self._running()
        return loop.run(lambda: loop.accepted)

    @property
    def open(self) -> int:
        """How many connections clients hold open now, black-holed ones included.

        Exact: a connection whose `close` has returned is not counted.
        """
        loop = self._running()
        return loop.run(lambda: sum(flow.is_held for flow in loop.flows))

    def black_hole(self) -> int:
        """Lose every flow that is open now, permanently; returns how many.

        Their sockets stay open, and what either side sends is discarded. Neither side
        notices. New connections work.
        """
        return self._running().each_flow(Flow.black_hole)

    def reset(self) -> int:
        """Close every flow that is open now with a TCP reset; returns how many."""
        return self._running().each_flow(lambda flow: flow.close(reset=True))

    def refuse(self) -> None:
        """Refuse new connections; those that are open live on."""
        loop = self._running()
        loop.run(loop.refuse)

    def accept(self) -> None:
        """Accept connections again, on the same ports."""
        loop = self._running()
        loop.run(loop.listen)

    def _running(self) -> ProxyLoop:
        loop = self._loop
        if loop is None:
            raise RuntimeError("the proxy is not running; use `with` or start()")
        return loop


def _brokers(cluster: EmbeddedCluster | str) -> list[Broker]:
    if isinstance(cluster, EmbeddedCluster):
        return cluster.brokers
    servers = [server.strip().rpartition(":") for server in cluster.split(",")]
    for host, _, port in servers:
        if host not in SUPPORTED_HOSTS or not port.isdecimal():
            raise ValueError(
                "give every broker as host:port, separated by commas, with a host of "
                f"{' or '.join(SUPPORTED_HOSTS)}; not {cluster!r}"
            )
    return [
        Broker(number, host, int(port))
        for number, (host, _, port) in enumerate(servers, start=1)
    ]


def _servers(brokers: list[Broker]) -> str:
    return ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
