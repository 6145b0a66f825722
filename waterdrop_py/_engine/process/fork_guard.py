"""Keeps the opens and closes of clients apart from forks of the process."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.native import caller_id
from waterdrop_py._engine.concurrency.wakeup import Wakeup, sleep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py._engine.client.client import Client

_Entry = TypeVar("_Entry")

SETTLED: Final = 0.03
"""Seconds that a client usually takes until its threads run and are connected. Without
this wait, 5 of 400 forks during opens left the child's own new client dead: its threads
waited inside `getaddrinfo` for a lock of the C library. A connecting thread of the
parent seems to have held it, 2 ms and 113 ms after an open (librdkafka 2.16)."""
_CONNECTS: Final = 0.2
"""Seconds for which a client without a report may still be connecting."""
_REMEMBERED: Final = 64
_LONGEST: Final = 1.0
"""Seconds that an open or close waits for a fork, and a fork for a close."""
_TICK: Final = 0.001


class ForkGuard:
    """Makes opens and closes wait for a fork, and a fork for them. No lock: each side
    announces itself and then looks for the other, so one of the two waits."""

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
        """Whether a client is being constructed; its threads may exist already."""
        return bool(self._opening)

    def begin_open(self) -> None:
        """An open begins; it waits for a fork by another thread."""
        self._wait_for_fork(self._opening, caller_id())

    def end_open(self, client: Client) -> None:
        """The open of `client` has ended."""
        self._opened_at = now = clock.system_now()
        self._young.append((weakref.ref(client), now))
        self._opening.remove(caller_id())

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Surround a native close; it waits for a fork by another thread.

        Threads that end take an OpenSSL lock. Of 384 forks during a close, one child
        waited for it forever.
        """
        entry = (caller_id(), clock.system_now())
        try:
            self._wait_for_fork(self._closing, entry)
            yield
        finally:
            with suppress(ValueError):  # in a child that was forked meanwhile
                self._closing.remove(entry)

    def begin_fork(self, deadline: float) -> None:
        """A fork begins: wait for opens, closes and new clients, until `deadline`."""
        self._forking.append(caller_id())
        while (now := clock.system_now()) < deadline and self._unsettled(now):
            sleep(_TICK)

    def _unsettled(self, now: float) -> bool:
        me = caller_id()
        return (
            now - self._opened_at < SETTLED
            or any(ident != me for ident in list(self._opening))
            or any(
                now - since < _CONNECTS and _connecting(reference())
                for reference, since in list(self._young)
            )
            or any(
                ident != me and now - since < _LONGEST
                for ident, since in list(self._closing)
            )
        )

    def _wait_for_fork(self, inside: list[_Entry], entry: _Entry) -> None:
        give_up = clock.system_now() + _LONGEST
        while True:
            inside.append(entry)
            others = [ident for ident in self._forking if ident != caller_id()]
            if not others or clock.system_now() >= give_up:
                return
            inside.remove(entry)
            wakeup = Wakeup()
            self._wakeups.append(wakeup)
            if self._forking:
                wakeup.wait(give_up - clock.system_now())
            self._wakeups.remove(wakeup)

    def end_fork(self) -> None:
        """The fork is done: waiting opens and closes continue."""
        with suppress(ValueError):
            self._forking.remove(caller_id())
        for wakeup in list(self._wakeups):
            wakeup()


def _connecting(client: Client | None) -> bool:
    """Whether messages wait in it and none has had a report."""
    if client is None or client.native is None or client.acknowledged or client.failed:
        return False
    return client.in_flight() > 0
