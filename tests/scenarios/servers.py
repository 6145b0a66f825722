"""Servers as processes of their own: started, asked over HTTP, stopped by SIGTERM."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.scenarios.harness import Outcome, end_group, kill_group, spool, start, text

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Collection, Iterator
    from typing import IO

START_S = 20.0
STOP_S = 15.0
"""gunicorn takes 2.3 s for it without any producer, and Celery up to 6 s."""
MODULE = (sys.executable, "-X", "faulthandler", "-m")
"""What runs a module of Python as a program."""


class Server:
    """A running server, and what it has said until now."""

    def __init__(
        self, process: subprocess.Popen[bytes], out: IO[bytes], err: IO[bytes]
    ) -> None:
        self.process = process
        self._out, self._err = out, err
        self.gone: dict[int, float] = {}

    def facts(self, name: str) -> list[Any]:
        """Every value that its processes have told under that name."""
        return Outcome(0, text(self._out), "", 0.0).all(name)

    def said(self) -> str:
        """All that it has printed."""
        return text(self._out) + text(self._err)

    def stop(self, code: int = 0, workers: Collection[int] = ()) -> None:
        """Ask it to end, and note when each of its workers has ended."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"not over {STOP_S} s after SIGTERM"
            self._note_gone(workers)
            time.sleep(0.005)
        self._note_gone(workers)
        assert self.process.returncode == code

    def _note_gone(self, workers: Collection[int]) -> None:
        for pid in workers:
            if pid not in self.gone and ended(pid):
                self.gone[pid] = time.monotonic()

    def outcome(self) -> Outcome:
        """What it has said, when it has ended."""
        code = self.process.wait(0)
        outcome = Outcome(code, text(self._out), text(self._err), 0.0)
        return outcome.assert_clean(code)


def ended(pid: int) -> bool:
    """Whether a process is no more, or is a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


@contextlib.contextmanager
def running(
    command: list[str], folder: Path | None = None, /, **environment: str
) -> Iterator[Server]:
    """Run a server in `folder` until the block ends.

    What goes wrong in the block shows all that the server said.
    """
    with spool() as out, spool() as err:
        process = start(command, out, err, folder, **environment)
        try:
            yield Server(process, out, err)
        except BaseException as error:
            end_group(process)
            said = Outcome(-1, text(out), text(err), 0.0)
            raise AssertionError(f"{error!r}\n{said}") from error
        finally:
            kill_group(process)


class _Connection(http.client.HTTPConnection):
    """To a Unix socket, or to the port that a `HOST:PORT` names."""

    def __init__(self, address: str) -> None:
        super().__init__("localhost", timeout=START_S)
        self._address = address

    def connect(self) -> None:
        """Connect, as soon as there is a server that listens."""
        host, _, port = self._address.rpartition(":")
        deadline = time.monotonic() + START_S
        while True:
            self.sock = socket.socket(socket.AF_INET if host else socket.AF_UNIX)
            self.sock.settimeout(START_S)
            target = (host, int(port)) if host else self._address
            if not self.sock.connect_ex(target):
                return
            self.sock.close()
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.01)


def ask(address: str, path: str, body: object = None) -> tuple[int, Any]:
    """Get a path, or post JSON to it: the status and the JSON of the answer.

    `address` is a Unix socket's path, which has 107 bytes at most, or `HOST:PORT`.
    """
    with contextlib.closing(_Connection(address)) as connection:
        headers = {"Connection": "close", "Content-Type": "application/json"}
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    return answer.status, json.loads(content) if content else None


def request(address: str, name: str) -> None:
    """Ask for `name`, as soon as there is a server to ask."""
    assert ask(address, f"/{name}") == (204, None)


def wait_until(condition: Callable[[], object], within: float = START_S) -> None:
    """Wait for a condition. Fails when it does not come true in time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not true within {within} s"
        time.sleep(0.02)
