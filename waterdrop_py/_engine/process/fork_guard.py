"""Holds opens and closes back while the process forks."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import TYPE_CHECKING, Final, TypeVar

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.wakeup import Wakeup, sleep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py._engine.client.client import Client

_Entry = TypeVar("_Entry")

SETTLED: Final = 0.03
"""Seconds that a client usually takes to have its threads running and connected.
Bare, 5 of 400 forks amid opens left the child's own new client dead: its threads
waited for the C library's lock inside `getaddrinfo`, which a connecting thread of the
parent seems to have held; 2 ms and 113 ms after an open (librdkafka 2.16)."""
_CONNECTS: Final = 0.2
"""Seconds for which a client that had no report yet may still be connecting."""
_REMEMBERED: Final = 64
_LONGEST: Final = 1.0
"""Seconds after which an open or close goes on, whatever became of the fork, and
after which a fork no longer waits for a close: it hangs."""
_TICK: Final = 0.001


class ForkGuard:
    """Keeps opens and closes apart from forks. No lock: both sides announce themselves
    first and look at the other second, so one of the two sees the other and waits."""

    def __init__(self) -> None:
        self._opening: list[int] = []
        self._closing: list[tuple[int, float]] = []
        self._forking: list[int] = []
        self._opened_at = -SETTLED
        self._young: deque[tuple[weakref.ref[Client], float]] = deque(
            maxlen=_REMEMBERED
        )
        self._wakeups: list[Wakeup] = []

    @property
    def opening(self) -> bool:
        """Whether a client is being constructed: its threads are there already."""
        return bool(self._opening)

    def enter(self) -> None:
        """An open begins; it waits for a fork of another thread."""
        self._enter(self._opening, get_ident())

    def leave(self, client: Client) -> None:
        """The open of `client` has ended."""
        self._opened_at = now = clock.system_now()
        self._young.append((weakref.ref(client), now))
        self._opening.remove(get_ident())

    @contextmanager
    def closing(self) -> Iterator[None]:
        """A native close; it waits for a fork of another thread.

        A child of a fork amid closes was found waiting for a lock of OpenSSL's in a
        thread of its own, once in 384: ending threads take it.
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
            sleep(_TICK)

    def _unsettled(self, now: float) -> bool:
        me = get_ident()
        return (
            now - self._opened_at < SETTLED
            or any(ident != me for ident in tuple(self._opening))
            or any(
                now - since < _CONNECTS and _connecting(reference())
                for reference, since in tuple(self._young)
            )
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
            wakeup = Wakeup()
            self._wakeups.append(wakeup)
            if self._forking:
                wakeup.wait(give_up - clock.system_now())
            self._wakeups.remove(wakeup)

    def open_again(self) -> None:
        """The fork has happened."""
        with suppress(ValueError):
            self._forking.remove(get_ident())
        for wakeup in tuple(self._wakeups):
            wakeup()


def _connecting(client: Client | None) -> bool:
    """Whether messages wait in it and none had a report: it connects."""
    if client is None or client.native is None or client.acknowledged or client.failed:
        return False
    return client.in_flight() > 0
