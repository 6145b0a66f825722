"""Signal handlers: where none runs, and which exceptions are theirs.

What user code raises in a callback is contained and reported. What a signal handler
raises belongs to the verb that it interrupted, and comes out of that verb. So each
place that contains user code asks here.
"""

from __future__ import annotations

import dis
import signal
from functools import partial
from itertools import pairwise
from threading import current_thread, main_thread
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType, TracebackType

_AFTER_YIELD_FROM: Final = 2


def no_signal_at_entry(function: Callable[..., Any]) -> None:
    """Let no signal handler run between the call of `function` and its first line.

    A handler runs at the first bytecode that looks for one. When a signal arrives
    during a native poll, which releases the GIL, that is the beginning of the report's
    callback. If the handler raises there, confluent-kafka drops the report with the
    call (and the traceback, so that nothing can be mended): 250 of 1100 exceptions
    cost a report that way (Python 3.11, confluent-kafka 2.16.1, a timer's handler that
    raises during `produce_sync`), and none do with this.

    From Python 3.11 on, a function begins with RESUME, whose operand says where; the
    check for handlers is left out after a `yield from` (the `dis` module documents the
    operand). Python 3.10 leaves it out before a `try`, with which `function` begins.
    """
    code = function.__code__
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RESUME":
            changed = bytearray(code.co_code)
            changed[instruction.offset + 1] = _AFTER_YIELD_FROM
            function.__code__ = code.replace(co_code=bytes(changed))
            return


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
