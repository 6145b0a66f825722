"""A loopback proxy that loses connections the way NATs and load balancers do."""

from __future__ import annotations

from waterdrop_py._settings.redact import kind
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.testing._server import Server
from waterdrop_py.testing._server_process import ServerProcess
from waterdrop_py.testing.cluster import EmbeddedCluster

SUPPORTED_HOSTS = ("127.0.0.1", "localhost")
SCRIPT = "_proxy_server.py"


class DroppingProxy(Server):
    """Stands in front of a cluster, counts connections, and can lose them silently.

    One listener per broker. It replaces the brokers' addresses in responses by its own,
    so that clients never bypass it. A fetched message that happens to contain such an
    address in the protocol's binary form is changed too. Plaintext only.

    Takes an `EmbeddedCluster` or the `host:port,...` of EVERY broker of a cluster that
    advertises its brokers under exactly these names, each at 127.0.0.1 or localhost.

    It runs in a subprocess and starts in about 0.1 s. It ends with `close()`, or with
    the process that started it, however that ends. So neither a fork nor gevent's
    patches touch its sockets.

    All methods are thread-safe. Each command blocks for at most 10 s, usually for less
    than one millisecond. They raise `RuntimeError` if the proxy is not running, and in
    a forked child, which can connect to it all the same; and `TimeoutError`.

    Args:
        cluster: an `EmbeddedCluster`, or the `host:port,...` of all brokers.

    Example:
        >>> with DroppingProxy(cluster) as proxy:
        ...     kafka = {"bootstrap.servers": proxy.bootstrap_servers}
        ...     with Producer(kafka=kafka) as producer:
        ...         report = producer.produce_sync("orders", b"first")
        ...         proxy.black_hole() > 0
        True
    """

    _what = "proxy"

    def __init__(self, cluster: EmbeddedCluster | str) -> None:
        if not isinstance(cluster, EmbeddedCluster | str):
            raise InvalidArgumentError(
                "cluster: must be an EmbeddedCluster, or the host:port,... of one, got "
                f"{kind(cluster)}"
            )
        super().__init__()
        self._cluster = cluster

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far, all brokers together.

        Exact: a connection whose `connect` has returned is counted.
        """
        return self._running().ask("count_accepted")

    @property
    def open(self) -> int:
        """How many connections clients hold open now, black-holed ones included.

        Exact: a connection whose `close` has returned is not counted.
        """
        return self._running().ask("count_open")

    def black_hole(self) -> int:
        """Lose every flow that is open now, permanently; returns how many.

        Their sockets stay open, and what either side sends is discarded. Neither side
        notices. New connections work.
        """
        return self._running().ask("black_hole")

    def reset(self) -> int:
        """Close every flow that is open now with a TCP reset; returns how many."""
        return self._running().ask("reset")

    def refuse(self) -> None:
        """Refuse new connections; those that are open live on."""
        self._running().ask("refuse")

    def accept(self) -> None:
        """Accept connections again, on the same ports."""
        self._running().ask("listen")

    def _launch(self) -> ServerProcess:
        return ServerProcess(self._what, SCRIPT, _addresses(self._cluster))


def _addresses(cluster: EmbeddedCluster | str) -> str:
    if isinstance(cluster, EmbeddedCluster):
        return cluster.bootstrap_servers
    servers = [server.strip() for server in cluster.split(",")]
    for host, _, port in (server.rpartition(":") for server in servers):
        if host not in SUPPORTED_HOSTS or not port.isdecimal():
            raise ValueError(
                "give every broker as host:port, separated by commas, with a host of "
                f"{' or '.join(SUPPORTED_HOSTS)}; not {cluster!r}"
            )
    return ",".join(servers)
