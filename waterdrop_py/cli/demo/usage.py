"""Sockets, threads and descriptors that the process holds beyond those at the start."""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from waterdrop_py._engine.process.resources import count_resources

COUNTING: Final = threading.Lock()
"""Held while the process is counted, and while a scrape of its metrics is answered."""


class Resources(NamedTuple):
    """Numbers of sockets, librdkafka's threads, and descriptors of every kind."""

    sockets: int
    threads: int
    fds: int


class Usage:
    """Counts with the code that also measures `producer.disconnected`."""

    def __init__(self) -> None:
        with COUNTING:
            self._baseline = count_resources()

    def above_baseline(self) -> Resources | None:
        """What the process holds beyond what it held when this was made.

        None on a system without /proc.
        """
        with COUNTING:
            now = count_resources()
        if now is None or self._baseline is None:
            return None
        before = self._baseline
        return Resources(
            now.sockets - before.sockets,
            now.threads - before.threads,
            now.fds - before.fds,
        )
