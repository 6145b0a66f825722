"""Calls that are made at the same time, each on a library thread."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from functools import partial
from threading import current_thread
from typing import TYPE_CHECKING, Final, TypeVar

from waterdrop_py._engine.concurrency import background, clock, threads
from waterdrop_py._engine.concurrency.future import Future

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")

_RETRY: Final = 0.05
"""Seconds between the attempts to have a thread make a call that none has begun."""

_CALLER: Final[ContextVar[object]] = ContextVar("waterdrop_py_pools_caller")


def side_by_side(
    calls: Sequence[Callable[[], _T]], deadline: float | None = None
) -> list[Future[_T]]:
    """Make `calls` at the same time, and wait for all of them until `deadline`.

    Each runs on a library thread, in a copy of the caller's context: it is inside of
    the same transactions, and `acting_for` says which thread asked. A single call runs
    here. So do all, one after the other, where no thread can start.

    Blocks for as long; `deadline` does not end what runs here. Ctrl-C ends the wait at
    once, and the calls go on. Thread-safe, and safe in signal handlers.

    Args:
        calls: what is called.
        deadline: seconds on `clock.system_now`; None: no bound.

    Returns:
        A `Future` for each call, in order. One that is not `done` goes on.
    """
    if len(calls) == 1 or not threads.can_start():
        here = [Future(call) for call in calls]
        for each in here:
            each()
        return here
    caller = acting_for()
    made = [Future(partial(copy_context().run, _call, caller, call)) for call in calls]
    for each in made:
        background.submit(each)
    for each in made:
        _wait(each, deadline)
    return made


def acting_for() -> object:
    """The `Thread` that asked for the current call; under gevent that of the greenlet.

    The calling one, except in a call of `side_by_side`, also of a nested one. Its id
    would not tell it from one that has ended: the system uses ids again.
    """
    return _CALLER.get(None) or current_thread()


def _call(caller: object, call: Callable[[], _T]) -> _T:
    _CALLER.set(caller)
    return call()


def _wait(call: Future[_T], deadline: float | None) -> None:
    """Wait until `call` has ended, or until `deadline`.

    Other jobs may hold up the threads that it was submitted for. So it is submitted
    again until it has begun.
    """
    while not call.done:
        left = None if deadline is None else deadline - clock.system_now()
        if left is not None and left <= 0:
            return
        if call.begun:
            call.wait(left)
        elif not threads.can_start():
            call()
        elif not call.wait(_RETRY if left is None else min(left, _RETRY)):
            background.submit(call)
