"""A process that is suspended beyond its idle deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import eventually
from tests.scenarios.harness import PROGRAMS, ROOT, kill_group, spool, text
from waterdrop_py.testing import DroppingProxy

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived
    from waterdrop_py.testing import EmbeddedCluster


@pytest.mark.timed
def test_first_send_after_a_suspension(
    cluster: EmbeddedCluster, topic: str, arrived: Arrived
) -> None:
    """A process stopped past the idle deadline, whose flows were lost meanwhile, does
    not send into them: its next message is delivered within 1 s, on a new client."""
    with DroppingProxy(cluster) as proxy, spool() as out, spool() as err:
        process = subprocess.Popen(
            [
                sys.executable,
                str(PROGRAMS / "suspended.py"),
                proxy.bootstrap_servers,
                topic,
            ],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        try:
            assert eventually(lambda: "ready" in text(out))
            os.kill(process.pid, signal.SIGSTOP)
            assert proxy.black_hole() > 0
            time.sleep(1.5)
            assert process.stdin is not None
            process.stdin.write(b"go on\n")
            process.stdin.close()
            os.kill(process.pid, signal.SIGCONT)
            assert process.wait(20) == 0, text(err)
        finally:
            kill_group(process)
        said = text(out)
    assert '"opens": 2' in said, said
    took = float(said.split('"took": ')[1].split(",")[0])
    assert took < 1
    assert arrived() == {"before": 1, "after": 1}
