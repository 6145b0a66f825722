"""What an embedded cluster and a proxy have in common: a server in its own process."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import NamedTuple, TypeVar

from waterdrop_py.testing._server_process import ServerProcess


class Broker(NamedTuple):
    """Where a broker listens."""

    id: int
    host: str
    port: int


class Server(ABC):
    """Something that listens for Kafka clients, between `start` and `close`."""

    _what: str  # its name in errors

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects `_process`: only one is started
        self._process: ServerProcess | None = None

    def start(self: S) -> S:
        """Start, and wait until it listens; returns self.

        Does nothing when it is running.
        """
        with self._lock:
            if self._process is None:
                self._process = self._launch()
        return self

    def close(self) -> None:
        """Close every connection, and end the process. Idempotent."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.end()

    def __enter__(self: S) -> S:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        process = self._process
        where = process.bootstrap_servers if process is not None else "not running"
        return f"<{type(self).__name__} {where}>"

    @property
    def bootstrap_servers(self) -> str:
        """The address `host:port` of each broker, for a client's configuration."""
        return self._running().bootstrap_servers

    @property
    def brokers(self) -> list[Broker]:
        """The address of every broker, those that are down included; ids from 1."""
        servers = self.bootstrap_servers.split(",")
        return [
            Broker(number, host, int(port))
            for number, (host, _, port) in enumerate(
                (server.rpartition(":") for server in servers), start=1
            )
        ]

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self._running().pid

    @abstractmethod
    def _launch(self) -> ServerProcess: ...

    def _running(self) -> ServerProcess:
        process = self._process
        if process is None:
            raise RuntimeError(
                f"the {self._what} is not running; use `with` or start()"
            )
        return process


S = TypeVar("S", bound=Server)
