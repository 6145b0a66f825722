"""Calls that are made at the same time, each on a library thread."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from functools import partial
from threading import current_thread
from typing import TYPE_CHECKING, Final, TypeVar

from waterdrop_py._engine.concurrency import clock, threads
from waterdrop_py._engine.concurrency.call_queue import SLOW, CallQueue
from waterdrop_py._engine.concurrency.future import Future

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")

_RETRY: Final = 0.25
"""Seconds between two looks at calls that no thread has begun."""

_CALLER: Final[ContextVar[object]] = ContextVar("waterdrop_py_caller")


def side_by_side(
    calls: Sequence[Callable[[], _T]],
    deadline: float | None = None,
    *,
    at_once: int = SLOW,
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
        at_once: how many begin at once. More do when none of them ends.

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
    queue = CallQueue(at_once)
    for each in made:
        queue.submit(each)
    for each in made:
        _wait(each, queue, deadline)
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


def _wait(call: Future[_T], queue: CallQueue, deadline: float | None) -> None:
    """Wait until `call` has ended, or until `deadline`.

    While calls have not begun, this looks from time to time why: those that have may
    hold up the threads.
    """
    while not call.done:
        left = None if deadline is None else deadline - clock.system_now()
        if left is not None and left <= 0:
            return
        if not call.begun and not threads.can_start():
            call()
        elif not queue.has_waiting:
            call.wait(left)
        elif not call.wait(_RETRY if left is None else min(left, _RETRY)):
            queue.widen_if_stuck()
