"""Producers, listeners and programs that provoke the messages of a page."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tests.docs.said import raised_by
from waterdrop_py import Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def producer(servers: str, options: Any = (), **kafka: Any) -> Producer:
    """A producer that gives up soon; properties with underscores for dots."""
    properties = {name.replace("_", "."): value for name, value in kafka.items()}
    return Producer(
        kafka={"bootstrap.servers": servers, "linger.ms": 0, **properties},
        **{"close_timeout": 0, **dict(options)},
    )


def connecting(servers: str, **kafka: Any) -> str:
    """What `connect()` says."""
    with producer(servers, **kafka) as tried:
        return raised_by(lambda: tried.connect(timeout=2))


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A listener that hands every connection to `answer`; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def hang_up(connection: socket.socket) -> None:
    """Read a request, and end the connection without an answer."""
    connection.settimeout(5)
    with connection, suppress(OSError):
        connection.recv(65_536)


@contextmanager
def nothing_there() -> Iterator[str]:
    """The address of a port at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def program(code: str, servers: str) -> str:
    """What a program prints."""
    ended = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, servers],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ended.stdout + ended.stderr


def without_place(text: str) -> str:
    """Warnings as Python prints them, without the file and the line."""
    return "\n".join(line.partition(": ")[2] or line for line in text.splitlines())


@contextmanager
def tls_listener(folder: Path) -> Iterator[str]:
    """A listener with a certificate that no CA has signed."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate)),
            *("-days", "2", "-subj", "/CN=localhost"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def shake(connection: socket.socket) -> None:
        connection.settimeout(5)
        with connection, suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with listening(shake) as servers:
        yield servers
