"""Producers in RQ, whose work horses leave with `os._exit`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rq import Callback, Queue

from tests.scenarios.harness import ROOT
from tests.scenarios.redis_server import connected, redis

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

JOBS = "tests.scenarios.programs.rq_jobs"
WORKERS = {
    "fork": "rq.worker.Worker",
    "spawn": "rq.worker.SpawnWorker",
    "simple": "rq.worker.SimpleWorker",
    "preloaded": f"{JOBS}.Preloaded",
}


@pytest.mark.parametrize("kind", WORKERS)
def test_rq(kind: str, servers: str, topic: str, arrived: Arrived) -> None:
    """What a job has sent is delivered, once, before RQ says how it ended: whether it
    returned, raised, was interrupted by its timeout or is to be run again; and what a
    callback of RQ's sends behind it."""
    with tempfile.TemporaryDirectory() as folder, redis() as path:  # noqa: SIM117
        with connected(path) as connection:
            queue = Queue(connection=connection)
            jobs = [
                queue.enqueue(
                    f"{JOBS}.{name}",
                    name,
                    job_timeout=3 if name == "overdue" else 30,
                    on_success=Callback(f"{JOBS}.report") if name == "send" else None,
                )
                for name in ("send", "fail", "overdue", "again")
            ]
            command = [
                str(Path(sys.executable).with_name("rq")),
                "worker",
                "--burst",
                f"--worker-class={WORKERS[kind]}",
                f"--url=unix://{path}",
            ]
            environment = {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SCENARIO_SERVERS": servers,
                "SCENARIO_TOPIC": topic,
                "SCENARIO_FOLDER": folder,
            }
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                check=False,
                text=True,
                timeout=60,
            )
            states = [job.get_status(refresh=True).value for job in jobs]
    assert done.returncode == 0, done.stderr
    assert states == ["finished", "failed", "failed", "finished"], done.stderr
    names = ("send", "fail", "overdue", "again")
    wanted = {f"{what}-{name}" for what in ("job", "buffered") for name in names}
    came = arrived()
    assert came.keys() - {"parent"} == wanted | {"callback", "sync-overdue"}
    assert set(came.values()) == {1}
