"""A timer whose handler raises hits code that takes and releases a lock."""

from __future__ import annotations

import signal
import sys
import threading
import time

from tests.scenarios.kit import say
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock

SECONDS, INTERVAL = 2.0, 0.000_2
CONTENDERS = 2


class Interrupted(Exception):
    """What the handler raises."""


def on_signal(*_: object) -> None:
    """Raise it in the main thread, wherever that is."""
    raise Interrupted


class Guarded:
    """A step that one thread at a time may be in."""

    def __init__(self) -> None:
        self.lock = OwnedLock()
        self.inside: list[None] = []
        self.times = self.together = 0

    def step(self) -> None:
        """Take the lock, if it is free, and release it."""
        hold = Hold()
        mark = False
        try:
            if self.lock.take(hold):
                mark = True
                self.inside.append(None)
                self.together += len(self.inside) > 1
                self.times += 1
        finally:
            try:
                if mark and self.inside:
                    self.inside.clear()
            finally:
                self.lock.release(hold)


def interrupt(guarded: Guarded, until: float) -> tuple[int, int]:
    """How often a step was interrupted, and left the lock held by this thread."""
    interrupts = left = 0
    while time.monotonic() < until:
        try:
            signal.setitimer(signal.ITIMER_REAL, INTERVAL)
            while True:
                guarded.step()
        except Interrupted:
            interrupts += 1
            left += guarded.lock.held_here
    return interrupts, left


def contend(guarded: Guarded, until: float) -> None:
    """Take it whenever it is free."""
    while time.monotonic() < until:
        guarded.step()


def main() -> None:
    """One thread is interrupted, the others want the same lock."""
    sys.setswitchinterval(1e-5)
    signal.signal(signal.SIGALRM, on_signal)
    guarded, until = Guarded(), time.monotonic() + SECONDS
    threads = [
        threading.Thread(target=contend, args=(guarded, until))
        for _ in range(CONTENDERS)
    ]
    for thread in threads:
        thread.start()
    interrupts, left = interrupt(guarded, until)
    for thread in threads:
        thread.join(10)
    say(
        interrupts=interrupts,
        left=left,
        together=guarded.together,
        locked=guarded.lock.locked,
        times=guarded.times,
    )


main()
