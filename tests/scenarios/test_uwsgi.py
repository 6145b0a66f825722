"""Producers in uWSGI, whose master forks in C, without Python's hooks."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import PROGRAMS
from tests.scenarios.servers import ended, request, running, wait_until

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

WORKERS = 2
FIRST = 20
NOTED_S = 0.3
"""uWSGI ends a worker without any exit handler while it counts as busy, which it does
for a moment after its answer."""
MODES: dict[str, list[str]] = {
    "plain": [],
    "threads": ["--enable-threads", "--threads=2"],
    "hooks": ["--enable-threads", "--py-call-osafterfork"],
    "lazy": ["--lazy-apps", "--enable-threads"],
}


def command(address: str, options: list[str]) -> list[str]:
    """The command that serves on a Unix socket."""
    return [
        str(Path(sys.executable).with_name("uwsgi")),
        f"--http-socket={address}",
        "--master",
        "--die-on-term",
        f"--processes={WORKERS}",
        f"--virtualenv={sys.prefix}",
        f"--wsgi-file={PROGRAMS / 'uwsgi_app.py'}",
        *options,
    ]


@pytest.mark.timed
@pytest.mark.parametrize("mode", MODES)
def test_uwsgi(mode: str, servers: str, topic: str, arrived: Arrived) -> None:
    """The master sends as it loads the application and holds no socket afterwards.
    Workers that it forks then, and those that it forks later in place of dead ones and
    at a reload, send with clients of their own; all stop when they are told to, and
    everything is there once."""
    environment = {"SCENARIO_SERVERS": servers, "SCENARIO_TOPIC": topic}
    names = iter(map(str, range(FIRST + 12)))
    with (
        tempfile.TemporaryDirectory() as folder,
        running(command(f"{folder}/s", MODES[mode]), **environment) as uwsgi,
    ):

        def serve(count: int) -> list[str]:
            served = list(itertools.islice(names, count))
            for name in served:
                request(f"{folder}/s", name)
            return served

        first = serve(FIRST)
        # Else what the worker has on its way would be lost with it.
        wait_until(lambda: all(arrived()[f"async-{name}"] for name in first))
        killed = uwsgi.facts("served_by")[-1]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: ended(killed))
        second = serve(6)
        os.kill(uwsgi.process.pid, signal.SIGHUP)
        loads = 2 * WORKERS if mode == "lazy" else 2
        wait_until(lambda: len(uwsgi.facts("loaded_by")) >= loads)
        third = serve(6)
        time.sleep(NOTED_S)
        uwsgi.stop()

        if mode != "lazy":
            assert set(uwsgi.facts("sockets")) == {0}
        came = arrived()
        served = [*first, *second, *third]
        assert all(came[f"sync-{name}"] == 1 for name in served)
        assert all(came[f"async-{name}"] == 1 for name in served)
        assert came[f"async-{first[-1]}"] <= 1
        assert max(came[f"late-{name}"] for name in served) == 1
        assert all(came[f"late-{name}"] for name in third)
        masters = [count for name, count in came.items() if name.startswith("master-")]
        assert len(masters) >= 2
