"""One broker: a Java process with its folder, its ports and its log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from .errors import HarnessError
from .listeners import CLIENT_LISTENERS, SCRAM_PASSWORD, SCRAM_USER
from .ports import answers
from .procfs import established_peers, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .guard import Guard
    from .listeners import ClientListener, Listener

_MEMORY = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_FORMAT_SECONDS = 60.0
_LOG_LINES = 40


def java_command(java: str, jars: Path, log4j2: Path) -> tuple[str, ...]:
    """How Kafka's Java programs are run; the class and its arguments follow."""
    logging = f"-Dlog4j2.configurationFile={log4j2}"
    return (java, *_MEMORY, logging, "-cp", f"{jars}/*")


class KafkaBroker:
    """One node of a cluster, broker and controller at once. Not thread-safe."""

    def __init__(
        self,
        node: int,
        folder: Path,
        ports: Mapping[Listener, int],
        java: Sequence[str],
        guard: Guard,
    ) -> None:
        self.node = node
        self.ports = dict(ports)
        self._java = tuple(java)
        self._guard = guard
        self._properties = folder / f"node-{node}.properties"
        self._log = folder / f"node-{node}.log"
        self._process: subprocess.Popen[bytes] | None = None

    # -- life ------------------------------------------------------------------

    def format(self, cluster_id: str, properties: Mapping[str, str]) -> None:
        """Write the configuration and start formatting the storage; does not wait."""
        self.configure(properties)
        scram = f"SCRAM-SHA-512=[name={SCRAM_USER},password={SCRAM_PASSWORD}]"
        # One argument: an id may begin with "-".
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}"]
        self._run([*tool, "-c", str(self._properties), "--add-scram", scram])

    def configure(self, properties: Mapping[str, str]) -> None:
        """Write the configuration that the next `start` reads."""
        lines = (f"{name}={value}\n" for name, value in properties.items())
        self._properties.write_text("".join(lines))

    def wait_until_formatted(self) -> None:
        """Wait for `format`; `HarnessError` with what it said when it failed."""
        if self.wait(_FORMAT_SECONDS) != 0:
            raise HarnessError(f"node {self.node}: format failed\n{self.log_tail()}")

    def start(self) -> None:
        """Start the process; does not wait until it answers."""
        self._run(["kafka.Kafka", str(self._properties)])

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM), also when it is paused; does not wait."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self._signal(signal.SIGKILL)
        self.wait(10.0)

    def wait(self, timeout: float) -> int | None:
        """The exit code, or None when it is still running after `timeout` seconds."""
        if self._process is None:
            return 0
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._guard.forget(self._process.pid)
        self._process = None
        return code

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    # -- what it is doing ---------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id; `HarnessError` when it does not run."""
        if self._process is None:
            raise HarnessError(f"node {self.node} is not running")
        return self._process.pid

    @property
    def resident_bytes(self) -> int:
        """The memory it has resident (Linux)."""
        return resident_bytes(self.pid)

    def connections(self, kind: ClientListener | None = None) -> list[int]:
        """The peers' ports of the connections this broker holds to clients (Linux).

        Of one listener, or of all client listeners. Those of other brokers and of
        the harness itself are on listeners of their own and never counted.
        """
        kinds = CLIENT_LISTENERS if kind is None else (kind,)
        return established_peers(self.pid, {self.ports[each] for each in kinds})

    def wait_until_listening(self, deadline: float) -> None:
        """Wait until every listener accepts, to a `time.monotonic` deadline."""
        for name, port in self.ports.items():
            while not answers(port):
                if not self.is_running:
                    raise self.failure("ended while starting")
                if time.monotonic() > deadline:
                    raise self.failure(f"does not listen on {name} in time")
                time.sleep(0.05)

    def failure(self, what: str) -> HarnessError:
        """An error that says `what` happened and shows the end of the log."""
        return HarnessError(f"node {self.node} {what}; its log:\n{self.log_tail()}")

    def log_tail(self, lines: int = _LOG_LINES) -> str:
        """The last lines of what the process printed."""
        if not self._log.exists():
            return "(empty)"
        said = self._log.read_text(errors="replace").splitlines()
        return "\n".join(said[-lines:]) or "(empty)"

    # -- processes ----------------------------------------------------------------

    def _run(self, arguments: Sequence[str]) -> None:
        if self._process is not None:
            raise HarnessError(f"node {self.node} is already running")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C must not kill it under the tests.
                start_new_session=True,
            )
        self._guard.watch(self._process.pid)

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running:
            os.killpg(self.pid, number)
