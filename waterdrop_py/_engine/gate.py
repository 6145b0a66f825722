"""Holds opens and closes back while the process forks."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import TYPE_CHECKING, Final, TypeVar

from waterdrop_py._engine import clock
from waterdrop_py._engine.pause import pause

if TYPE_CHECKING:
    from collections.abc import Iterator

_Entry = TypeVar("_Entry")

SETTLED: Final = 0.03
"""Seconds that a client usually takes to have its threads running and connected. A
fork within 2 ms of an open left the child's own new client dead in 5 of 750 forks:
a broker thread held the C library's lock inside `getaddrinfo` (librdkafka 2.16)."""
_LONGEST: Final = 1.0
"""Seconds after which an open or close goes on, whatever became of the fork, and
after which a fork no longer waits for a close: it hangs."""
_TICK: Final = 0.001


class ForkGate:
    """Keeps opens and closes apart from forks. No lock: both sides announce themselves
    first and look at the other second, so one of the two sees the other and waits."""

    def __init__(self) -> None:
        self._opening: list[int] = []
        self._closing: list[tuple[int, float]] = []
        self._forking: list[int] = []
        self._opened_at = -SETTLED
        self._bells: list[SimpleQueue[None]] = []

    @property
    def opening(self) -> bool:
        """Whether a client is being constructed: its threads are there already."""
        return bool(self._opening)

    def enter(self) -> None:
        """An open begins; it waits for a fork of another thread."""
        self._enter(self._opening, get_ident())

    def leave(self) -> None:
        """The open has ended."""
        self._opened_at = clock.system_now()
        self._opening.remove(get_ident())

    @contextmanager
    def closing(self) -> Iterator[None]:
        """A native close; it waits for a fork of another thread.

        Threads that end take a lock of OpenSSL's, which a child would inherit held.
        """
        entry = (get_ident(), clock.system_now())
        try:
            self._enter(self._closing, entry)
            yield
        finally:
            with suppress(ValueError):  # a fork in between, in the child
                self._closing.remove(entry)

    def shut(self, deadline: float) -> None:
        """A fork begins: wait for opens and closes in progress, and young clients."""
        self._forking.append(get_ident())
        while (now := clock.system_now()) < deadline and self._unsettled(now):
            pause(_TICK)

    def _unsettled(self, now: float) -> bool:
        me = get_ident()
        return (
            now - self._opened_at < SETTLED
            or any(ident != me for ident in tuple(self._opening))
            or any(
                ident != me and now - since < _LONGEST
                for ident, since in tuple(self._closing)
            )
        )

    def _enter(self, inside: list[_Entry], entry: _Entry) -> None:
        give_up = clock.system_now() + _LONGEST
        while True:
            inside.append(entry)
            others = [ident for ident in self._forking if ident != get_ident()]
            if not others or clock.system_now() >= give_up:
                return
            inside.remove(entry)
            bell: SimpleQueue[None] = SimpleQueue()
            self._bells.append(bell)
            if self._forking:
                with suppress(Empty):
                    bell.get(timeout=max(0.0, give_up - clock.system_now()))
            self._bells.remove(bell)

    def open_again(self) -> None:
        """The fork has happened."""
        with suppress(ValueError):
            self._forking.remove(get_ident())
        for bell in tuple(self._bells):
            bell.put(None)
