"""A process that outlives the tests and leaves nothing of theirs behind.

Run as a script with the folder to remove. On its standard input it reads `+<pid>`
and `-<pid>`; when the input ends, because the cluster was closed or because the
test process died in whatever way, it kills the process group of every pid left and
removes the folder. A pipe's end is seen on every system and from any thread, which
the parent-death signal of Linux is not: that one fires when the starting thread ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_REMOVE_ATTEMPTS = 50
_REMOVE_PAUSE = 0.1


class Guard:
    """The guard process, seen from the tests' side."""

    def __init__(self, folder: Path) -> None:
        # A session of its own: Ctrl-C in the terminal must not reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(folder)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def watch(self, pid: int) -> None:
        """Have the process group `pid` killed at the end."""
        self._tell(f"+{pid}")

    def forget(self, pid: int) -> None:
        """The process is gone, and its pid may belong to another one soon."""
        self._tell(f"-{pid}")

    def finish(self) -> None:
        """Have everything removed that is left; waits for at most 20 s."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=20)

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def main() -> None:
    """Watch until the input ends, then kill and remove what is left."""
    folder = Path(sys.argv[1])
    alive: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            alive.add(pid)
        else:
            alive.discard(pid)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    # A killed broker dies a moment later and may still write meanwhile.
    for _ in range(_REMOVE_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_REMOVE_PAUSE)


if __name__ == "__main__":
    main()
