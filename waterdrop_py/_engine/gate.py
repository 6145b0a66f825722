"""Holds opens back while the process forks."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Final

from waterdrop_py._engine import clock
from waterdrop_py._engine.pause import pause

SETTLED: Final = 0.03
"""Seconds that a client takes to have its threads running. A fork within 2 ms of an
open left the child's own new client dead in 5 of 750 forks: librdkafka's threads
hold a process-wide lock while they start (measured with librdkafka 2.16)."""
_LONGEST: Final = 1.0
"""Seconds after which an open goes on, whatever became of the fork."""
_TICK: Final = 0.001


class ForkGate:
    """Keeps opens and forks apart. No lock: both sides announce themselves first and
    look at the other second, so one of the two sees the other and waits."""

    def __init__(self) -> None:
        self._opening: list[int] = []
        self._forking: list[int] = []
        self._opened_at = -SETTLED
        self._bells: list[SimpleQueue[None]] = []

    @property
    def opening(self) -> bool:
        """Whether a client is being constructed: its threads are there already."""
        return bool(self._opening)

    def enter(self) -> None:
        """An open begins; it waits for a fork of another thread."""
        give_up = clock.system_now() + _LONGEST
        while True:
            self._opening.append(get_ident())
            others = [ident for ident in self._forking if ident != get_ident()]
            if not others or clock.system_now() >= give_up:
                return
            self._opening.remove(get_ident())
            bell: SimpleQueue[None] = SimpleQueue()
            self._bells.append(bell)
            if self._forking:
                with suppress(Empty):
                    bell.get(timeout=give_up - clock.system_now())
            self._bells.remove(bell)

    def leave(self) -> None:
        """The open has ended."""
        self._opened_at = clock.system_now()
        self._opening.remove(get_ident())

    def shut(self, deadline: float) -> None:
        """A fork begins: wait for opens in progress, and for young clients."""
        me = get_ident()
        self._forking.append(me)
        while clock.system_now() < deadline:
            young = clock.system_now() - self._opened_at < SETTLED
            if not young and all(ident == me for ident in tuple(self._opening)):
                return
            pause(_TICK)

    def open_again(self) -> None:
        """The fork has happened."""
        with suppress(ValueError):
            self._forking.remove(get_ident())
        for bell in tuple(self._bells):
            bell.put(None)
