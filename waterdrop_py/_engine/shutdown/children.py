"""Processes that end without running what Python runs at exit."""

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
"""Behind every finalizer of the user's own."""


def watch_exit() -> None:
    """See to it that this process closes what it opened. Called at each open.

    Four kinds of children run no atexit handlers. Those of multiprocessing before
    Python 3.13 and those of billiard run finalizers of their own, which they clear as
    they start. Those of Celery's prefork pool and RQ's work horses leave with
    `os._exit`. So each is asked for it at the first open in each process.
    """
    pid = os.getpid()
    for name, ask in _ASKED.items():
        module = sys.modules.get(name)
        if module is not None and _watched.get(name) != pid:
            _watched[name] = pid
            ask(module)


# -- multiprocessing -----------------------------------------------------------


def _ask_multiprocessing(utilities: ModuleType) -> None:
    utilities.Finalize(None, _at_child_exit, exitpriority=_LAST)


def _at_child_exit() -> None:
    """At the end of a multiprocessing process, before its other threads have ended.

    Those may still send, and an executor's idle ones are told to end only after this.
    So a thread that the process waits for, as it does for them, comes behind them
    (test_a_child_with_an_idle_executor).
    """
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return  # the main process has its atexit handler
    if threads.lasting():
        threads.start_lasting("exit", _close_behind_others)
    else:
        close_all()


def _close_behind_others() -> None:
    while others := threads.lasting():
        for thread in others:
            thread.join()
    close_all()


# -- billiard and Celery -------------------------------------------------------


def _ask_billiard(utilities: ModuleType) -> None:
    utilities.Finalize(None, _at_billiard_exit, exitpriority=_LAST)


def _at_billiard_exit() -> None:
    """At the end of a billiard process, which waits for no other thread."""
    process = sys.modules.get("billiard.process")
    if process is None:
        return
    me = process.current_process()
    if me._parent_pid is not None:  # noqa: SLF001 - billiard has no other name for it
        close_all()


def _ask_celery(signals: ModuleType) -> None:
    # Behind the receivers that the application has connected until now; a connection
    # that was made before the fork would be in front of them.
    signals.worker_process_shutdown.disconnect(_at_pool_exit)
    signals.worker_process_shutdown.connect(_at_pool_exit, weak=False)


def _at_pool_exit(**_: object) -> None:
    """At the end of a Celery pool's process, which waits for no other thread."""
    if _watched.get("celery.signals") == os.getpid():
        close_all()


# -- RQ ------------------------------------------------------------------------


def _ask_rq(module: ModuleType) -> None:
    """Deliver what a job has sent before RQ says how it ended.

    The work horse leaves with `os._exit` as soon as that is said. Its class is wrapped,
    and not what runs the job: this may be called from inside the very job.
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

_ASKED: Final[dict[str, Callable[[ModuleType], None]]] = {
    "multiprocessing.util": _ask_multiprocessing,
    "billiard.util": _ask_billiard,
    "celery.signals": _ask_celery,
    "rq.worker": _ask_rq,
}
_watched: Final[dict[str, int]] = {}
"""Which process has asked, by the module that was asked."""

before_each_open(watch_exit)
