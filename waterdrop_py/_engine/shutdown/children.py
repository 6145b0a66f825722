"""Closing producers in child processes that run no exit handlers: fork pools, RQ."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.client.factory import before_each_open
from waterdrop_py._engine.concurrency import threads
from waterdrop_py._engine.shutdown.exit import close_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_LAST: Final = -100
"""Priority: after every finalizer of the user's own."""


def watch_exit() -> None:
    """Make sure that this process closes what it opens. Called at each open.

    Four kinds of children run no atexit handlers. Those of multiprocessing (before
    Python 3.13) and of billiard run finalizers of their own, which they clear when they
    start. Those of Celery's prefork pool and RQ's work horses leave with `os._exit`. So
    a handler is registered with each at the first open in each process.
    """
    pid = os.getpid()
    for name, register in _REGISTER.items():
        module = sys.modules.get(name)
        if module is not None and _watched.get(name) != pid:
            _watched[name] = pid
            register(module)


# -- multiprocessing -----------------------------------------------------------


def _register_multiprocessing(utilities: ModuleType) -> None:
    utilities.Finalize(None, _at_child_exit, exitpriority=_LAST)


def _at_child_exit() -> None:
    """At the end of a multiprocessing process, before its other threads have ended.

    Those may still send, and the idle threads of an executor are told to end only after
    this. So a thread that is no daemon waits for them and then closes. The process
    waits for that thread (test_a_child_with_an_idle_executor).
    """
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return  # the main process runs its atexit handler
    if threads.non_daemons():
        threads.start_non_daemon("exit", _close_behind_others)
    else:
        close_all()


def _close_behind_others() -> None:
    while others := threads.non_daemons():
        for thread in others:
            thread.join()
    close_all()


# -- billiard and Celery -------------------------------------------------------


def _register_billiard(utilities: ModuleType) -> None:
    utilities.Finalize(None, _at_billiard_exit, exitpriority=_LAST)


def _at_billiard_exit() -> None:
    """At the end of a billiard process, which does not wait for other threads."""
    process = sys.modules.get("billiard.process")
    if process is None:
        return
    me = process.current_process()
    if me._parent_pid is not None:  # noqa: SLF001 - billiard has no other name for it
        close_all()


def _register_celery(signals: ModuleType) -> None:
    # After the receivers that the application has connected by now. A receiver that was
    # connected before the fork would come before them.
    signals.worker_process_shutdown.disconnect(_at_pool_exit)
    signals.worker_process_shutdown.connect(_at_pool_exit, weak=False)


def _at_pool_exit(**_: object) -> None:
    """At the end of a Celery pool's process, which does not wait for other threads."""
    if _watched.get("celery.signals") == os.getpid():
        close_all()


# -- RQ ------------------------------------------------------------------------


def _register_rq(module: ModuleType) -> None:
    """Deliver what a job has sent before RQ stores how it ended.

    The work horse leaves with `os._exit` right after that. The methods of its class are
    wrapped, because this may be called from inside the very job.
    """
    for name in _ENDS_OF_JOBS:
        for kind in (*module.Worker.__mro__, *_kinds_of(module.Worker)):
            end = vars(kind).get(name)
            if end is not None and not hasattr(end, _WRAPPED):
                setattr(kind, name, _closing_first(end))


def _kinds_of(worker: type[Any]) -> Iterator[type[Any]]:
    for kind in worker.__subclasses__():
        yield kind
        yield from _kinds_of(kind)


def _closing_first(end: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(end)
    def closing_first(worker: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(worker, "_is_horse", False):
            close_all()
        return end(worker, *args, **kwargs)

    setattr(closing_first, _WRAPPED, True)
    return closing_first


_WRAPPED: Final = "_waterdrop_py_closes_first"
_ENDS_OF_JOBS: Final = ("handle_job_success", "handle_job_failure", "handle_job_retry")

_REGISTER: Final[dict[str, Callable[[ModuleType], None]]] = {
    "multiprocessing.util": _register_multiprocessing,
    "billiard.util": _register_billiard,
    "celery.signals": _register_celery,
    "rq.worker": _register_rq,
}
_watched: Final[dict[str, int]] = {}
"""The id of the process that has registered a handler, by module."""

before_each_open(watch_exit)
