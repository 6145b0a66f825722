"""Runs a program in a process of its own, for a limited time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
DUMP_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and what it said.

    Attributes:
        facts: what it told with `kit.say`, line by line.
        took: seconds from its start to its end.
    """

    code: int
    out: str
    err: str
    took: float

    @property
    def facts(self) -> list[dict[str, Any]]:
        """Every line of JSON on standard output."""
        lines = (line for line in self.out.splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]

    def all(self, name: str) -> list[Any]:
        """Every value told under that name, in order."""
        return [fact[name] for fact in self.facts if name in fact]

    def one(self, name: str) -> Any:
        """The one value told under that name."""
        values = self.all(name)
        assert len(values) == 1, f"{name}: {values}\n{self}"
        return values[0]

    def assert_clean(self, code: int = 0) -> Outcome:
        """Ended with `code`, and without a traceback or a fatal error."""
        assert self.code == code, str(self)
        for sign in ("Traceback", "Exception ignored", "Fatal Python"):
            assert sign not in self.err, str(self)
        return self

    def __str__(self) -> str:
        return (
            f"exit code {self.code} after {self.took:.2f} s\n"
            f"--- stdout\n{self.out}\n--- stderr\n{self.err}"
        )


def run_scenario(
    program: str | Path,
    *arguments: object,
    timeout: float = 30.0,
    python: str = sys.executable,
    flags: tuple[str, ...] = (),
) -> Outcome:
    """Run `program`, a file of `programs/` or source text, in a process group.

    After `timeout` seconds every thread of the group shows its stack, the whole group
    is killed and the test fails.
    """
    started = time.monotonic()
    with spool() as out, spool() as err:
        command = [python, "-X", "faulthandler", *flags, *_code_of(program)]
        process = start([*command, *map(str, arguments)], out, err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            end_group(process)
            code = None
        finally:
            kill_group(process)
        took = time.monotonic() - started
        outcome = Outcome(-1 if code is None else code, text(out), text(err), took)
    assert code is not None, f"not over after {timeout} s; {outcome}"
    return outcome


def start(
    command: list[str],
    out: IO[bytes],
    err: IO[bytes],
    folder: Path | None = None,
    /,
    **environment: str,
) -> subprocess.Popen[bytes]:
    """Start a process as the leader of a group, able to import the project.

    It starts in `folder`; None: where the tests run.
    """
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with default_sigint():
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=variables,
            cwd=folder,
            start_new_session=True,
        )


@contextlib.contextmanager
def default_sigint() -> Iterator[None]:
    """Children started inside get SIGINT, even where the test run ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def spool() -> IO[bytes]:
    """A file for the output; children that outlive their parent cannot block it."""
    return tempfile.TemporaryFile()


def text(stream: IO[bytes]) -> str:
    """All that was written so far."""
    stream.flush()
    return os.pread(stream.fileno(), 10_000_000, 0).decode(errors="replace")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Have faulthandler show every stack of the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
        os.killpg(process.pid, signal.SIGABRT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(DUMP_S)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _code_of(program: str | Path) -> list[str]:
    if isinstance(program, str) and "\n" in program:
        return ["-c", program]
    return [str(PROGRAMS / program)]
