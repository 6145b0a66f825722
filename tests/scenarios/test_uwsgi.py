"""Producers in uWSGI, whose master forks in C, without Python's hooks."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
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
from tests.scenarios.test_servers import ended, request

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from typing import IO

    from tests.scenarios.conftest import Arrived

WORKERS = 2
STOP_S = 8.0
"""uWSGI takes a second for it without any producer."""
FIRST = 20
LAST = str(FIRST - 1)
NOTED_S = 0.3
"""uWSGI ends a worker without any exit handler while it counts as busy, which it does
for a moment after its answer."""
MODES: dict[str, list[str]] = {
    "plain": [],
    "threads": ["--enable-threads", "--threads=2"],
    "hooks": ["--enable-threads", "--py-call-osafterfork"],
    "lazy": ["--lazy-apps", "--enable-threads"],
}


class Uwsgi:
    """A running uWSGI."""

    def __init__(
        self, process: subprocess.Popen[bytes], out: IO[bytes], address: str
    ) -> None:
        self.process, self._out, self.address = process, out, address
        self.names: list[str] = []

    def serve(self, count: int) -> list[int]:
        """Have requests served; by which workers."""
        for _ in range(count):
            name = f"{len(self.names)}"
            self.names.append(name)
            request(self.address, name)
        return self.facts("served_by")[-count:]

    def facts(self, name: str) -> list[int]:
        """What the processes have said of themselves."""
        return list(Outcome(0, text(self._out), "", 0.0).all(name))

    def stop(self) -> None:
        """End it as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_S)


@contextlib.contextmanager
def running(options: list[str], servers: str, topic: str) -> Iterator[Uwsgi]:
    """uWSGI, until the block ends; what went wrong shows all that it said."""
    with (
        tempfile.TemporaryDirectory() as folder,
        spool() as out,
        spool() as err,
    ):
        address = f"{folder}/s"
        command = [
            str(Path(sys.executable).with_name("uwsgi")),
            f"--http-socket={address}",
            "--master",
            "--die-on-term",
            f"--processes={WORKERS}",
            f"--virtualenv={sys.prefix}",
            f"--wsgi-file={PROGRAMS / 'uwsgi_app.py'}",
            *options,
        ]
        environment = {"SCENARIO_SERVERS": servers, "SCENARIO_TOPIC": topic}
        process = start(command, out, err, **environment)
        try:
            yield Uwsgi(process, out, address)
        except BaseException as error:
            end_group(process)
            said = Outcome(-1, text(out), text(err), 0.0)
            raise AssertionError(f"{error!r}\n{said}") from error
        finally:
            kill_group(process)


@pytest.mark.timed
@pytest.mark.parametrize("mode", MODES)
def test_uwsgi(mode: str, servers: str, topic: str, arrived: Arrived) -> None:
    """The master sends as it loads the application and holds no socket afterwards.
    Workers that it forks then, and those that it forks later in place of dead ones and
    at a reload, send with clients of their own; all stop when they are told to, and
    everything is there once."""
    with running(MODES[mode], servers, topic) as uwsgi:
        killed = uwsgi.serve(FIRST)[-1]
        os.kill(killed, signal.SIGKILL)
        _until(lambda: ended(killed))
        uwsgi.serve(6)
        os.kill(uwsgi.process.pid, signal.SIGHUP)
        loads = 2 * WORKERS if mode == "lazy" else 2
        _until(lambda: len(uwsgi.facts("loaded_by")) >= loads)
        uwsgi.serve(6)
        time.sleep(NOTED_S)
        uwsgi.stop()

        if mode != "lazy":
            assert set(uwsgi.facts("sockets")) == {0}
        came = arrived()
        assert all(came[f"sync-{name}"] == 1 for name in uwsgi.names)
        # The last one before its worker was killed may have been on its way.
        sent = [name for name in uwsgi.names if name != LAST]
        assert all(came[f"async-{name}"] == 1 for name in sent)
        assert came[f"async-{LAST}"] <= 1
        assert max(came[f"late-{name}"] for name in uwsgi.names) == 1
        assert all(came[f"late-{name}"] for name in uwsgi.names[-6:])
        masters = [count for name, count in came.items() if name.startswith("master-")]
        assert len(masters) >= 2


def _until(condition: Callable[[], bool], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
