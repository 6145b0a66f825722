"""Sockets, threads and descriptors that the process holds beyond those at the start."""

from __future__ import annotations

from typing import NamedTuple

from waterdrop_py._engine.process.resources import count_resources


class Resources(NamedTuple):
    """Numbers of sockets, librdkafka's threads, and descriptors of every kind."""

    sockets: int
    threads: int
    fds: int


class Usage:
    """Counts with the code that also measures `producer.disconnected`."""

    def __init__(self) -> None:
        self._baseline = count_resources()

    def above_baseline(self) -> Resources | None:
        """What the process holds beyond what it held when this was made.

        None on a system without /proc.
        """
        now = count_resources()
        if now is None or self._baseline is None:
            return None
        before = self._baseline
        return Resources(
            now.sockets - before.sockets,
            now.threads - before.threads,
            now.fds - before.fds,
        )
