"""examples/cli_batch."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.examples.conftest import MakeExample

BATCH = [sys.executable, "-X", "faulthandler", "batch.py", "orders"]
LINES = 20_000


def test_all_lines_arrive(example: MakeExample) -> None:
    """Once each, in exit code 0 and a line that counts them."""
    job = example("cli_batch")
    lines = [f"line-{number}" for number in range(LINES)]
    (job.folder / "lines").write_text("\n".join(lines))
    said = job.run("sh", "-c", f"{sys.executable} batch.py orders < lines")
    assert f"delivered {LINES}, failed 0" in said
    assert job.arrived("orders") == Counter(lines)


def test_sigterm_in_the_middle_delivers_what_was_read(example: MakeExample) -> None:
    """The exit code is a signal's. As many lines as it says are in the topic: those
    that were read, once each."""
    job = example("cli_batch")
    environment = {**os.environ, **job.environment(linger_ms=1_000)}
    with subprocess.Popen(
        BATCH,
        cwd=job.folder,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        # More than a pipe holds: the first lines have been read by the end.
        lines = "".join(f"line-{number}\n" for number in range(LINES))
        process.stdin.write(lines.encode())
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read().decode()
        assert process.wait(10) == 128 + signal.SIGTERM
    counted = re.search(r"delivered (\d+), failed 0", said)
    assert counted is not None, said  # else some of them failed
    arrived = job.arrived("orders")
    assert arrived.total() == int(counted[1]) > 0
    in_order = (f"line-{number}" for number in range(LINES))
    assert arrived == Counter(itertools.islice(in_order, arrived.total()))


def test_several_processes(example: MakeExample) -> None:
    """Each file is sent by a process of a pool; all lines are there, once."""
    job = example("cli_batch")
    for part in range(4):
        lines = "".join(f"{part}-{number}\n" for number in range(100))
        (job.folder / f"part-{part}").write_text(lines)
    files = [f"part-{part}" for part in range(4)]
    said = job.run(sys.executable, "parallel.py", *files)
    assert "failed 0" in said
    opened_by = re.findall(r'"opened_by": (\d+)', said)
    assert len(opened_by) == len(set(opened_by)) > 1
    assert job.arrived("orders") == Counter(
        f"{part}-{number}" for part in range(4) for number in range(100)
    )
