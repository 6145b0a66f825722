"""How the library's threads start and end: named daemons, started when needed."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from threading import Thread, current_thread, main_thread
from threading import enumerate as enumerate_threads
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import clock, cooperative, native
from waterdrop_py._engine.concurrency.wakeup import Wakeup, sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# In C, so that no signal handler runs between the call and the change of the mask.
# `signal.pthread_sigmask` wraps it in Python. Windows has none.
_SIGNALS: Final[Any] = importlib.import_module("_signal")
_set_mask: Final = getattr(_SIGNALS, "pthread_sigmask", None)
_OF_CRASHES: Final = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
"""Signals that the kernel sends to the thread that caused them. Where one is blocked,
the process ends without its handler, and `faulthandler` shows no stack
(test_a_crash_on_a_library_thread)."""
_BLOCKED: Final = tuple(
    _SIGNALS.valid_signals()
    - {getattr(_SIGNALS, name) for name in _OF_CRASHES if hasattr(_SIGNALS, name)}
)
_TICK: Final = 0.001


class _Running:
    """The library's threads, and whether more may start.

    Attributes:
        coming: one entry for each unnamed thread that has not ended.
        named: the threads that do the work. One that has ended stays until the next
            one starts.
        over: no thread starts any more; the exit handler has run.
        refused: the last thread could not start.
        outside: the signals that the last starter outside the library had blocked.
        before_end: what is called as the process ends, while these threads are there.
    """

    def __init__(self) -> None:
        self.coming: list[None] = []
        self.named: dict[Thread | _BareThread, None] = {}
        self.over = False
        self.refused = False
        self.outside: Iterable[int] = ()
        self.before_end: list[Callable[[], None]] = []


_RUNNING: Final = _Running()


def start(name: str, run: Callable[[], None]) -> bool:
    """Start a daemon thread without waiting until it runs. Safe in signal handlers.

    False when the interpreter starts no more threads. The thread blocks signals, as
    librdkafka's do. It inherits the mask, so it never gets a signal that the service
    waits for.

    `threading.Thread.start` waits until the new thread runs. Before the first message
    after idleness, that costs as much as opening the client (2 of 5.5 ms on a busy
    machine). So an unnamed thread does that wait.
    """
    if forbidden():
        return False
    _RUNNING.coming.append(None)
    try:
        blocking_signals(lambda: native.start_new_thread(_introduce, (name, run)))
    except RuntimeError:
        _RUNNING.coming.pop()
        _RUNNING.refused = True
        return False  # no resources, or at interpreter exit, from 3.12 on
    _RUNNING.refused = False
    return True


def can_start() -> bool:
    """Whether a thread may start, as far as is known: the last one could."""
    return not (_RUNNING.refused or forbidden())


def forbidden() -> bool:
    """Whether no thread may start: when the process ends, and in uWSGI's master.

    The master forks in C while a Python thread may hold the interpreter's lock or wait
    for it. Its worker then waits for that lock forever: in 8 of 14 runs with a poller
    (uWSGI 2.0.31, with and without --enable-threads), in 0 of 6 without (test_uwsgi).
    """
    if _RUNNING.over:
        return True
    uwsgi: Any = sys.modules.get("uwsgi")
    worker_id = getattr(uwsgi, "worker_id", None)
    return worker_id is not None and worker_id() == 0 and uwsgi.mule_id() == 0


def blocking_signals(start: Callable[[], object]) -> None:
    """Call `start` with every signal blocked except those of crashes.

    What it starts inherits the mask. A signal handler may raise wherever a call
    returns. So the mask is read before it is changed, and restored by one call of C.
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
    return native.thread_id() in native.LIBRARY


def start_non_daemon(name: str, run: Callable[[], None]) -> None:
    """Start a thread for which the process waits before it ends."""
    thread = Thread(target=run, name=f"waterdrop-{name}", daemon=False)
    blocking_signals(thread.start)


def non_daemons() -> list[Thread]:
    """Other threads for which the process waits before it ends."""
    spared = (current_thread(), main_thread())
    return [each for each in enumerate_threads() if not (each.daemon or each in spared)]


class _BareThread:
    """A thread without a `threading.Thread`, which would start a greenlet."""

    def __init__(self) -> None:
        self.ident: int | None = None
        self._ended = Wakeup()
        self._alive = True

    def run(self, function: Callable[[], None]) -> None:
        """Call `function` on the calling thread, for which this stands."""
        self.ident = native.thread_id()
        try:
            function()
        finally:
            cooperative.leave_thread()
            self._alive = False
            self._ended()

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._alive

    def join(self, timeout: float) -> None:
        """Wait until it has ended, at most `timeout` seconds."""
        if self._alive:
            self._ended.wait(timeout)


def _introduce(name: str, run: Callable[[], None]) -> None:
    for thread in list(_RUNNING.named):
        if thread.ident is not None and not thread.is_alive():
            _RUNNING.named.pop(thread, None)
    if native.replaced_by() is not None:
        bare = _BareThread()
        _RUNNING.named[bare] = None
        _arrived()
        bare.run(lambda: _run_marked(run))
        return
    named = Thread(
        target=lambda: _run_marked(run), name=f"waterdrop-{name}", daemon=True
    )
    _RUNNING.named[named] = None
    try:
        named.start()
    except RuntimeError:
        _RUNNING.named.pop(named, None)
        _run_marked(run)  # then in this one, as nameless as it is
    finally:
        _arrived()


def _arrived() -> None:
    with suppress(IndexError):  # a fork in between, in the child
        _RUNNING.coming.pop()


def _run_marked(run: Callable[[], None]) -> None:
    native.run_marked(native.LIBRARY, native.thread_id(), run)


def before_end(function: Callable[[], None]) -> None:
    """Call `function` as the process ends: every producer is closed then."""
    _RUNNING.before_end.append(function)


def end(timeout: float) -> None:
    """Start no thread from now on, and wait at most `timeout` seconds for the others.

    They have been told to end. User code or a close may hold one up; it is a daemon.
    """
    for function in list(_RUNNING.before_end):
        function()
    _RUNNING.over = True
    wait(timeout, lambda: False)


def wait(timeout: float, give_up: Callable[[], bool]) -> None:
    """Wait at most `timeout` seconds until every thread but the calling one has ended.

    Stops as soon as `give_up()` is true.
    """
    deadline = clock.system_now() + timeout
    me = native.thread_id()
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
    """Forget every thread: this is a forked child.

    A callback may fork on one of the library's threads. That thread is the child's main
    thread, so its signals are unblocked.
    """
    forked_here, outside = _here(), _RUNNING.outside
    _RUNNING.coming.clear()
    _RUNNING.named.clear()
    _RUNNING.over = _RUNNING.refused = False
    native.note_fork()
    if forked_here and _set_mask is not None:
        _set_mask(_SIGNALS.SIG_SETMASK, outside)


class OnDemandThread:
    """At most one thread, started when there is work; it ends when there is none.

    Its work is in an inbox. The caller puts an item there, and then calls
    `ensure_started` unless it sees the thread at work. While a thread is starting, no
    other one is started. The new thread clears the mark before it first looks into the
    inbox. So an item that found it starting is there when it looks
    (test_work_that_comes_before_its_thread). Without a lock.
    """

    __slots__ = ("_coming", "_name", "_run")

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self._name = name
        self._run = run
        self._coming: list[None] = []

    def ensure_started(self) -> bool:
        """Start the thread, unless one is starting; False when none can start."""
        if self._coming:
            return True
        started = False
        try:
            self._coming.append(None)
            started = start(self._name, self._arrive)
        except BaseException:
            # A signal handler's. Other work may have found this thread starting, so it
            # starts all the same. A second one ends at once
            # (test_a_start_that_is_interrupted).
            started = start(self._name, self._arrive)
            raise
        finally:
            if not started:
                self._coming.clear()
        return started

    def _arrive(self) -> None:
        self._coming.clear()
        self._run()
