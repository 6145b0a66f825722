"""The parent's side of a server's process: start, command, end."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

ANSWER_SECONDS = 10.0
POST_MORTEM_SECONDS = 2.0
"""Seconds to wait for the exit code of a server that ended by itself."""
POST_MORTEM_CHARS = 2_000
READ_BYTES = 65_536


def _require_interpreter(what: str, script: Path) -> None:
    """Refuse to start anything but a Python interpreter.

    `sys.executable` of a frozen application is the application itself, and that of a
    program that embeds Python is the program. Each would start another copy.

    Raises:
        RuntimeError: the interpreter, or the script for it, is missing.
    """
    reason = None
    if getattr(sys, "frozen", False) or "__compiled__" in globals():
        reason = (
            "this application is frozen (PyInstaller, Nuitka, cx_Freeze): "
            f"sys.executable is the application itself, {sys.executable!r}"
        )
    elif not sys.executable or "uwsgi" in sys.modules:
        reason = (
            "Python is embedded in another program: sys.executable must be an "
            f"interpreter, got {sys.executable!r}"
        )
    elif not script.is_file():
        reason = f"waterdrop_py must be installed as files, got {str(script)!r}"
    if reason is not None:
        raise RuntimeError(
            f"the {what} runs in a Python process of its own, and {reason}. Start it "
            "from a Python script, and give the application its bootstrap_servers; "
            "nothing was started"
        )


class ServerProcess:
    """One running server; commands are thread-safe, one at a time.

    It belongs to the process that started it: a forked child can neither command nor
    end it.
    """

    def __init__(self, what: str, script: str, *arguments: object) -> None:
        """`what` names it in errors; `script` is a file beside this one."""
        path = Path(__file__).with_name(script)
        _require_interpreter(what, path)
        self._what = what
        self._owner = os.getpid()
        self._lock = threading.Lock()  # protects the pipes, `_last_id` and `_unread`
        self._last_id = 0
        self._unread = b""
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        # -I -S: the standard library alone, whatever the user's environment says.
        command = [sys.executable, "-I", "-S", str(path), str(self._owner)]
        # A session of its own keeps the terminal's Ctrl-C away from it.
        self._process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            start_new_session=True,
        )
        try:
            self.bootstrap_servers = str(self._answer(0)["bootstrap_servers"])
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def ask(self, what: str, *args: Any) -> int:
        """Have a command executed; returns the number that it answers.

        Raises `TimeoutError` without an answer within 10 s, and `RuntimeError`, with
        what the server wrote to stderr, when it has ended.
        """
        if os.getpid() != self._owner:
            raise RuntimeError(
                f"the {self._what} belongs to the process that started it"
            )
        with self._lock:
            self._last_id += 1
            command = {"id": self._last_id, "do": what, "args": args}
            self._send(json.dumps(command).encode() + b"\n")
            answer = self._answer(self._last_id)
        if "error" in answer:
            raise RuntimeError(f"the {self._what} refused {what}: {answer['error']}")
        return int(answer["code"])

    def end(self) -> None:
        """End the server; idempotent. It has nothing to save, so it is killed."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process.kill()
            self._process.wait()
            self._stderr.close()

    def _send(self, line: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            raise RuntimeError(f"the {self._what} is closed")
        try:
            pipe.write(line)
        except OSError as error:
            raise self._gone() from error

    def _answer(self, wanted: int) -> dict[str, Any]:
        """The answer with this id; one left over by an interrupted call is skipped."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = json.loads(self._read_line(deadline))
            if answer["id"] == wanted:
                return dict(answer)

    def _read_line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(
                        f"the {self._what} did not answer within {ANSWER_SECONDS:g} s"
                    )
                chunk = os.read(descriptor, READ_BYTES)
                if not chunk:
                    raise self._gone()
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _gone(self) -> RuntimeError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(POST_MORTEM_SECONDS)
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip()
        return RuntimeError(
            f"the {self._what}'s process ended (exit code {self._process.returncode}): "
            f"{said[-POST_MORTEM_CHARS:] or 'it said nothing'}"
        )
