"""Producers in gunicorn and Celery workers, whose master has used them before."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import (
    PROGRAMS,
    Outcome,
    end_group,
    kill_group,
    spool,
    start,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from tests.scenarios.conftest import Arrived

WORKERS = 2
MODULES = "tests.scenarios.programs"
KINDS = {
    "sync": ("sync", "gunicorn_app"),
    "gthread": ("gthread", "gunicorn_app"),
    "uvicorn": ("uvicorn_worker.UvicornWorker", "uvicorn_app"),
}
START_S = 20.0
STOP_S = 8.0
"""gunicorn's own stop takes up to 2.3 s, Celery's 4 s, also without any producer."""
EXIT_S = 0.5
"""What a worker's end may take: 0.2 s, the 0.1 s between two looks that gunicorn's
master takes at its workers, and a loaded machine."""


class Server:
    """A running server, and what it has said until now."""

    def __init__(self, process: subprocess.Popen[bytes], out: IO[bytes]) -> None:
        self.process = process
        self._out = out
        self.stopped = 0.0

    def served_by(self) -> list[int]:
        """The worker of each request that is done."""
        outcome = Outcome(0, text(self._out), "", 0.0)
        return [fact["pid"] for fact in outcome.facts if "served" in fact]

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_S)
        self.stopped = time.monotonic()
        return code


@contextlib.contextmanager
def running(command: list[str], **environment: str) -> Iterator[Server]:
    """Run a server until the block ends; what went wrong shows all that it said."""
    with spool() as out, spool() as err:
        command = [sys.executable, "-X", "faulthandler", "-m", *command]
        process = start(command, out, err, **environment)
        try:
            yield Server(process, out)
        except BaseException as error:
            end_group(process)
            said = Outcome(-1, text(out), text(err), 0.0)
            raise AssertionError(f"{error!r}\n{said}") from error
        finally:
            kill_group(process)


def scenario(servers: str, topic: str, *, closed: bool) -> dict[str, str]:
    """What the applications find in their environment."""
    return {
        "SCENARIO_SERVERS": servers,
        "SCENARIO_TOPIC": topic,
        "SCENARIO_CLOSED_BEFORE_FORK": "yes" if closed else "no",
    }
