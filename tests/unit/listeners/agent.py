"""A DogStatsD agent: a UDP socket that adds up what it is told."""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from datadog import DogStatsd  # type: ignore[attr-defined]


class Told(NamedTuple):
    """One metric: its name, its letter (`c`, `g`, `h`, `d`), and its tags."""

    name: str
    kind: str
    tags: frozenset[str]


class Agent:
    """Takes datagrams on a port of its own.

    Attributes:
        sums: of counts.
        values: of all others, in their order.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._clients: list[Any] = []
        self.sums: Counter[Told] = Counter()
        self.values: defaultdict[Told, list[float]] = defaultdict(list)

    def client(self, **options: Any) -> Any:
        """A client that tells this agent, and only what it is asked to."""
        client = DogStatsd(
            host="127.0.0.1", port=self.port, disable_telemetry=True, **options
        )
        self._clients.append(client)
        return client

    def listen(self) -> None:
        """Take what has come."""
        while True:
            try:
                datagram = self._socket.recv(65_536).decode()
            except BlockingIOError:
                return
            for line in datagram.splitlines():
                self._take(line)

    def _take(self, line: str) -> None:
        name, _, rest = line.partition(":")
        value, kind, *more = rest.split("|")
        assert not any(each.startswith("@") for each in more), line
        tags = [each[1:].split(",") for each in more if each.startswith("#")]
        told = Told(name, kind, frozenset(tags[0] if tags else ()))
        if kind == "c":
            assert float(value) > 0, line
            self.sums[told] += float(value)  # type: ignore[assignment]
        else:
            self.values[told].append(float(value))

    def sum(self, name: str, *tags: str) -> float:
        """The sum of a count with these tags, and with no others."""
        self.listen()
        return self.sums[Told(f"waterdrop.{name}", "c", frozenset(tags))]

    def last(self, name: str, *tags: str) -> float | None:
        """The newest value of a gauge, a histogram or a distribution."""
        self.listen()
        for kind in "ghd":
            found = self.values.get(Told(f"waterdrop.{name}", kind, frozenset(tags)))
            if found:
                return found[-1]
        return None

    def close(self) -> None:
        """Free the port, and those of the clients."""
        for client in self._clients:
            client.stop()
        self._socket.close()
