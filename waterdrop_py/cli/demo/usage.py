"""What the process holds, and which producer each part of it belongs to."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from waterdrop_py._engine.process.resources import count_resources

# A descriptor is its number and what it leads to, a thread is its id.
Thing: TypeAlias = tuple[str, str]

THREAD: Final = "thread"


class Holding(NamedTuple):
    """Sockets, librdkafka's threads, and descriptors of every kind."""

    sockets: int
    threads: int
    fds: int

    def __str__(self) -> str:
        return (
            f"sockets {self.sockets}, librdkafka threads {self.threads}, "
            f"descriptors {self.fds}"
        )


class Holdings:
    """Counts what is held beyond what was there when this was made.

    /proc does not say which client a socket or a thread belongs to. So a producer is
    given what appeared while it was the only one to open anything (`give`), and is
    counted for as long as exactly that is there. The sum of all is counted
    separately, by the census that `producer.disconnected` is measured with, and needs
    no such rule.

    Not thread-safe. Where there is no /proc nothing can be counted: None.
    """

    def __init__(self) -> None:
        self._baseline = count_resources()
        self._owners: dict[Thing, str | None] = dict.fromkeys(_things())

    def above_baseline(self) -> Holding | None:
        """What the process holds more than at the start."""
        now = count_resources()
        if now is None or self._baseline is None:
            return None
        before = self._baseline
        return Holding(
            now.sockets - before.sockets,
            now.threads - before.threads,
            now.fds - before.fds,
        )

    def give(self, owner: str) -> None:
        """What appeared since the last call of any method is `owner`'s."""
        self._forget_what_went()
        for thing in _things():
            self._owners.setdefault(thing, owner)

    def by_owner(self) -> dict[str, Holding]:
        """What each owner holds still; an owner with nothing is not in it."""
        self._forget_what_went()
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
            owner: Holding(sockets[owner], threads[owner], fds[owner])
            for owner in fds | threads
        }

    def _forget_what_went(self) -> None:
        here = _things()
        self._owners = {
            thing: owner for thing, owner in self._owners.items() if thing in here
        }


def _things() -> set[Thing]:
    things: set[Thing] = set()
    with suppress(OSError):  # no /proc: see Holdings
        for number in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the listing's own descriptor, closed by now
                things.add((number, os.readlink(f"/proc/self/fd/{number}")))
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # it has just ended
                if (thread / "comm").read_text().startswith("rdk:"):
                    things.add((THREAD, thread.name))
    return things
