"""Sockets, threads and descriptors of the process, counted for each producer."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from waterdrop_py._engine.process.resources import count_resources

Resource: TypeAlias = tuple[str, str]
"""A descriptor's number and target; or THREAD and a thread's id."""

THREAD: Final = "thread"


class Resources(NamedTuple):
    """Numbers of sockets, librdkafka's threads, and descriptors of every kind."""

    sockets: int
    threads: int
    fds: int

    def __str__(self) -> str:
        return (
            f"sockets {self.sockets}, librdkafka threads {self.threads}, "
            f"descriptors {self.fds}"
        )


class Usage:
    """Counts what the process holds beyond what it held when this was made.

    /proc does not say which client a socket or a thread belongs to. So what appears
    while only one producer opens anything is assigned to it (`assign_new_to`), and
    counted until it is closed. The sum for the process is counted separately, with the
    code that also measures `producer.disconnected`.

    Not thread-safe. Figures are None on a system without /proc.
    """

    def __init__(self) -> None:
        self._baseline = count_resources()
        self._owners: dict[Resource, str | None] = dict.fromkeys(_open_now())

    def above_baseline(self) -> Resources | None:
        """What the process holds beyond what it held at the start."""
        now = count_resources()
        if now is None or self._baseline is None:
            return None
        before = self._baseline
        return Resources(
            now.sockets - before.sockets,
            now.threads - before.threads,
            now.fds - before.fds,
        )

    def assign_new_to(self, owner: str) -> None:
        """Assign what has appeared since the last call to `owner`."""
        self._drop_closed()
        for resource in _open_now():
            self._owners.setdefault(resource, owner)

    def by_owner(self) -> dict[str, Resources]:
        """What each owner still holds. Owners that hold nothing are left out."""
        self._drop_closed()
        sockets: Counter[str] = Counter()
        threads: Counter[str] = Counter()
        fds: Counter[str] = Counter()
        for (number, target), owner in self._owners.items():
            if owner is None:
                continue
            if number == THREAD:
                threads[owner] += 1
                continue
            fds[owner] += 1
            sockets[owner] += target.startswith("socket:")
        return {
            owner: Resources(sockets[owner], threads[owner], fds[owner])
            for owner in fds | threads
        }

    def _drop_closed(self) -> None:
        here = _open_now()
        self._owners = {
            resource: owner
            for resource, owner in self._owners.items()
            if resource in here
        }


def _open_now() -> set[Resource]:
    found: set[Resource] = set()
    with suppress(OSError):  # no /proc: see Usage
        for number in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the listing's own descriptor, closed by now
                found.add((number, os.readlink(f"/proc/self/fd/{number}")))
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # it has just ended
                if (thread / "comm").read_text().startswith("rdk:"):
                    found.add((THREAD, thread.name))
    return found
