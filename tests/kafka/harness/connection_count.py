"""How long connections were held, as the brokers count them (JMX)."""

from __future__ import annotations

import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import HarnessError
from .jars import java

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from .listeners import ClientListener

_PROGRAM = Path(__file__).with_name("Connections.java")
_START_SECONDS = 60.0


class ConnectionCount:
    """Watches how many connections some listeners of some brokers have.

    A context manager. Looks every few milliseconds, from a process of its own.
    """

    def __init__(
        self, listeners: Sequence[ClientListener], pids: Sequence[int]
    ) -> None:
        """Starts nothing."""
        self._listeners = list(listeners)
        names = ",".join(listeners)
        self._command = [java(), str(_PROGRAM), names, *map(str, pids)]
        self._looks: list[tuple[float, list[int]]] = []
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> ConnectionCount:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._looks:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise HarnessError("the brokers' connection count cannot be read")
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is not None:
            process.kill()
            process.wait(10)
            self._thread.join(10)
            assert process.stdout is not None
            process.stdout.close()

    def seconds(self, listener: ClientListener, since: float, until: float) -> float:
        """Connections times seconds, between two moments of `time.monotonic`."""
        at, total = self._listeners.index(listener), 0.0
        for (early, before), (late, after) in pairwise(tuple(self._looks)):
            length = min(late, until) - max(early, since)
            total += max(0.0, length) * (before[at] + after[at]) / 2
        return total

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, *counts = map(int, line.split())
            self._looks.append((at / 1e9, counts))
