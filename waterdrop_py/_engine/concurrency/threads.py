"""The library's threads: daemons, named, started when needed, gone when not."""

from __future__ import annotations

import _thread
import importlib
import sys
from contextlib import suppress
from threading import Thread, current_thread, get_ident, main_thread
from threading import enumerate as enumerate_threads
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.wakeup import sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Of C, so that no signal handler runs between the call and the change of the mask;
# `signal.pthread_sigmask` is a function of Python around it. Windows has none.
_SIGNALS: Final[Any] = importlib.import_module("_signal")
_set_mask: Final = getattr(_SIGNALS, "pthread_sigmask", None)
_OF_CRASHES: Final = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
"""What the kernel sends to the thread that did it. Where one is blocked, the process
ends without the handler: `faulthandler` would show no stack
(test_a_crash_on_a_library_thread)."""
_BLOCKED: Final = tuple(
    _SIGNALS.valid_signals()
    - {getattr(_SIGNALS, name) for name in _OF_CRASHES if hasattr(_SIGNALS, name)}
)
_TICK: Final = 0.001


class _Running:
    """The threads there are, and whether more may start.

    Attributes:
        coming: one entry for each thread without a name that has not ended.
        named: the threads that do the work; one that has ended, until the next starts.
        over: no thread starts any more; the exit handler has run.
        outside: the signals that the last starter outside of the library blocked.
    """

    def __init__(self) -> None:
        self.coming: list[None] = []
        self.named: dict[Thread, None] = {}
        self.over = False
        self.outside: Iterable[int] = ()


_RUNNING: Final = _Running()


def start(name: str, run: Callable[[], None]) -> bool:
    """Start a daemon thread, without a wait for it to run; False when the interpreter
    starts none any more. Safe in signal handlers.

    The thread blocks signals, as librdkafka's do: it inherits the mask, so there
    is no moment at which a signal that the service waits for is handed to it.

    `threading.Thread.start` waits until the new thread runs. Before the first message
    after idleness that costs as much as opening the client (2 of 5.5 ms on a busy
    machine), so a thread without a name does that wait.
    """
    if forbidden():
        return False
    _RUNNING.coming.append(None)
    try:
        blocking_signals(lambda: _thread.start_new_thread(_introduce, (name, run)))
    except RuntimeError:
        _RUNNING.coming.pop()
        return False  # no resources, or at interpreter exit, from 3.12 on
    return True


def forbidden() -> bool:
    """Whether no thread may start: as the process ends, and in uWSGI's master.

    The master forks in C while any thread of Python's may have the interpreter's lock,
    or wait for it, and the worker waits for that lock for good: in 8 of 14 runs with a
    poller at work (uWSGI 2.0.31, with and without --enable-threads), and in none of 6
    without one (test_uwsgi).
    """
    if _RUNNING.over:
        return True
    uwsgi: Any = sys.modules.get("uwsgi")
    worker_id = getattr(uwsgi, "worker_id", None)
    return worker_id is not None and worker_id() == 0 and uwsgi.mule_id() == 0


def blocking_signals(start: Callable[[], object]) -> None:
    """Call `start` while this thread blocks every signal but those of crashes; what it
    starts inherits that.

    A signal handler may raise wherever a call returns. So the mask is read before it
    is changed, and restored by one call of C.
    """
    if _set_mask is None:  # pragma: no cover - Windows
        start()
        return
    before = _set_mask(_SIGNALS.SIG_BLOCK, ())
    try:
        _set_mask(_SIGNALS.SIG_BLOCK, _BLOCKED)
        start()
    finally:
        _set_mask(_SIGNALS.SIG_SETMASK, before)
    if not _here():
        _RUNNING.outside = before


def _here() -> bool:
    """Whether the calling thread is one of the library's."""
    me = get_ident()
    return any(thread.ident == me for thread in list(_RUNNING.named))


def start_lasting(name: str, run: Callable[[], None]) -> None:
    """Start a thread for which the process waits before it ends."""
    thread = Thread(target=run, name=f"waterdrop-{name}", daemon=False)
    blocking_signals(thread.start)


def lasting() -> list[Thread]:
    """Other threads for which the process waits before it ends."""
    spared = (current_thread(), main_thread())
    return [each for each in enumerate_threads() if not (each.daemon or each in spared)]


def _introduce(name: str, run: Callable[[], None]) -> None:
    for thread in list(_RUNNING.named):
        if thread.ident is not None and not thread.is_alive():
            _RUNNING.named.pop(thread, None)
    thread = Thread(target=run, name=f"waterdrop-{name}", daemon=True)
    _RUNNING.named[thread] = None
    try:
        thread.start()
    except RuntimeError:
        _RUNNING.named.pop(thread, None)
        run()  # then in this one, as nameless as it is
    finally:
        with suppress(IndexError):  # a fork in between, in the child
            _RUNNING.coming.pop()


def end(timeout: float) -> None:
    """Start no thread from now on, and wait for those there are.

    They have been told to end. One that user code or a close holds up is a daemon, and
    is not waited for beyond `timeout` seconds.
    """
    _RUNNING.over = True
    wait(timeout, lambda: False)


def wait(timeout: float, give_up: Callable[[], bool]) -> None:
    """Wait until every thread but the calling one has ended, for `timeout` seconds at
    most, and no longer once `give_up()`."""
    deadline = clock.system_now() + timeout
    me = get_ident()
    while clock.system_now() < deadline and not give_up():
        there = [each for each in list(_RUNNING.named) if each.ident not in (None, me)]
        alive = [thread for thread in there if thread.is_alive()]
        if alive:
            alive[0].join(_TICK)
        elif _RUNNING.coming:
            sleep(_TICK)
        else:
            return


def start_afresh() -> None:
    """None of the threads is here: this is a forked child.

    A fork on a thread of the library, in a callback, leaves the child that thread as
    its main one, which must not go on blocking signals.
    """
    forked_here, outside = _here(), _RUNNING.outside
    _RUNNING.coming.clear()
    _RUNNING.named.clear()
    _RUNNING.over = False
    if forked_here and _set_mask is not None:
        _set_mask(_SIGNALS.SIG_SETMASK, outside)


class OnDemandThread:
    """A place for one thread, which ends when it has nothing to do.

    Its work is in an inbox. Whoever puts something there calls `fill` unless the
    thread is seen at work; while one is on its way no other is started. A thread that
    arrives says so before it looks at the inbox for the first time, and `fill` comes
    after the put: what found it on its way is in the inbox when it looks
    (test_work_that_comes_before_its_thread). No lock.
    """

    __slots__ = ("_coming", "_name", "_run")

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self._name = name
        self._run = run
        self._coming: list[None] = []

    def fill(self) -> bool:
        """Start the thread, unless one is on its way; False when none starts."""
        if self._coming:
            return True
        started = False
        try:
            self._coming.append(None)
            started = start(self._name, self._arrive)
        except BaseException:
            # A signal handler's, and other work may have found this one on its way. One
            # thread too many ends at once (test_a_start_that_is_torn).
            started = start(self._name, self._arrive)
            raise
        finally:
            if not started:
                self._coming.clear()
        return started

    def _arrive(self) -> None:
        self._coming.clear()
        self._run()
