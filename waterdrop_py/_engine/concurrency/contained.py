"""Whose exception it is: user code's own, or a signal handler's on top of it.

What user code raises in a callback is contained, and told of. What a signal handler
raises belongs to the verb that it interrupted, and comes out of it, wherever the main
thread was. So each place that contains user code asks here.
"""

from __future__ import annotations

import signal
from functools import partial
from itertools import pairwise
from threading import current_thread, main_thread
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType, TracebackType


def from_signal_handler(error: BaseException) -> bool:
    """Whether a signal handler raised `error`.

    Handlers run on the main thread only. There a KeyboardInterrupt is always taken for
    one's, and so is what passed through the frame of a handler: of one that is
    installed, or of one that was called as one and has put another in its place.
    """
    if not on_main_thread():
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    codes = set(_codes())
    return any(
        frame.f_code in codes or _called_as_handler(frame)
        for frame in _frames(error.__traceback__)
    )


def on_main_thread() -> bool:
    """Whether signal handlers run on this thread."""
    return current_thread() is main_thread()


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _codes() -> Iterator[CodeType]:
    """The code of each signal handler of Python that is installed."""
    for number in signal.valid_signals():
        code = code_of(signal.getsignal(number))
        if code is not None:
            yield code


def code_of(handler: Any) -> CodeType | None:
    """The code that a signal handler runs, where it is of Python."""
    while True:
        if isinstance(handler, FunctionType):
            return handler.__code__
        if isinstance(handler, partial):
            handler = handler.func
        elif isinstance(handler, MethodType):
            handler = handler.__func__
        else:  # an object with a `__call__` of Python, or nothing to be found
            called = next(_calls(type(handler)), None)
            return called.__code__ if isinstance(called, FunctionType) else None


def _calls(kind: type) -> Iterator[Any]:
    return (vars(each)["__call__"] for each in kind.__mro__ if "__call__" in vars(each))


def _called_as_handler(frame: FrameType) -> bool:
    """Whether its arguments are those of a signal handler: the signal's number, and
    the frame that was interrupted, which is the one below it."""
    code, variables = frame.f_code, frame.f_locals
    given = [variables.get(name) for name in code.co_varnames[: code.co_argcount]]
    rest = code.co_argcount + code.co_kwonlyargcount
    if code.co_flags & _VARARGS:
        given += variables.get(code.co_varnames[rest]) or ()
    below = frame.f_back
    return below is not None and any(
        isinstance(number, int) and interrupted is below
        for number, interrupted in pairwise(given)
    )


_VARARGS = 0x04
"""`inspect.CO_VARARGS`, whose module takes long to import."""
