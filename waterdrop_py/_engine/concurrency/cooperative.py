"""Waiting under gevent: the greenlet switches to its hub, and is woken through it.

A greenlet adds a `Sleeper` to the wake-up, looks at its flag, and switches to the hub.
A thread that wakes it releases the flag first and looks for sleepers second, so one of
the two sees the other. It may be any thread: `run_callback_threadsafe` has the hub's
own thread switch back. Where gevent is not patched in, nothing of this runs.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import clock, native
from waterdrop_py.errors import TuningWarning

if TYPE_CHECKING:
    import _thread
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_LONGEST: Final = 3600.0
"""Seconds of one timer. A hub that has none left ends a wait without a bound."""

_AGAIN: Final = 0.5
"""Seconds after which a greenlet whose time is over is resumed once more."""


def hub_of_thread() -> Any:
    """The gevent hub of the calling thread; None where there is none to wait in.

    The main thread gets one if it has none yet. The library's own threads have none,
    even if user code that ran there made one.
    """
    replaced_by = native.replaced_by()
    if replaced_by is None or native.thread_id() in native.LIBRARY:
        return None
    if replaced_by != "gevent":
        _warn_of(replaced_by)
        return None
    hubs = sys.modules["gevent._hub_local"]
    hub = hubs.get_hub_if_exists()
    if hub is None and native.on_main_thread():
        hub = hubs.get_hub()
    return hub


_warned: Final[list[str]] = []


def _warn_of(replaced_by: str) -> None:
    if not _warned:
        _warned.append(replaced_by)
        warnings.warn(
            f"{replaced_by} has replaced threads, and this library cannot wait in its "
            "hub: each wait for a report stops all greenlets of the thread; use gevent "
            "or threads instead",
            TuningWarning,
            stacklevel=4,
        )


_around_blocked: Callable[[], AbstractContextManager[None]] = nullcontext


def surround_blocked(around: Callable[[], AbstractContextManager[None]]) -> None:
    """Enter `around()` while a wait stops a hub."""
    global _around_blocked  # noqa: PLW0603
    _around_blocked = around


def wait(
    flag: _thread.LockType, sleepers: list[Sleeper], timeout: float | None
) -> bool | None:
    """Wait for `flag` at most `timeout` seconds; None: there is no hub to wait in.

    A signal handler may run on top of the hub itself. It stops the hub while it waits.
    What gevent raises in the greenlet (`Timeout`, `GreenletExit`) comes out.
    """
    hub = hub_of_thread()
    if hub is None or not hub.loop:
        return None
    greenlet = sys.modules["gevent"].getcurrent()
    if greenlet is hub:
        with _around_blocked():
            return native.acquire(flag, timeout)
    until = None if timeout is None else clock.system_now() + timeout
    sleeper = Sleeper(hub, greenlet)
    try:
        sleepers.append(sleeper)
        while not flag.acquire(blocking=False):
            left = _LONGEST if until is None else until - clock.system_now()
            if left <= 0:
                return False
            sleeper.sleep(min(left, _LONGEST))
        return True
    finally:
        with suppress(ValueError):
            sleepers.remove(sleeper)


class Sleeper:
    """A greenlet that waits."""

    __slots__ = ("_asleep", "_greenlet", "_hub")

    def __init__(self, hub: Any, greenlet: Any) -> None:
        self._hub = hub
        self._greenlet = greenlet
        self._asleep = False

    def sleep(self, duration: float) -> None:
        """Run other greenlets for `duration` seconds, or until `wake`."""
        # A signal handler may raise in the hub, instead of what the timer calls there.
        timer = self._hub.loop.timer(duration, _AGAIN)
        try:
            self._asleep = True
            timer.start(self._resume)
            self._hub.switch()
        finally:
            self._asleep = False
            timer.close()

    def wake(self) -> None:
        """Have the hub resume the greenlet. Callable from anywhere."""
        # AttributeError, ValueError: the hub was destroyed, and its greenlets with it.
        with suppress(AttributeError, ValueError):
            self._hub.loop.run_callback_threadsafe(self._resume)

    def _resume(self) -> None:
        """Run in the hub. A wake-up may come when the greenlet waits no more."""
        if self._asleep:
            self._greenlet.switch()


def leave_thread() -> None:
    """The calling thread of the library ends: destroy the hub that user code made here.

    It holds descriptors, and gevent closes them for its own threads only.
    """
    if native.replaced_by() == "gevent":
        hub = sys.modules["gevent._hub_local"].get_hub_if_exists()
        if hub is not None:
            hub.destroy(destroy_loop=True)
