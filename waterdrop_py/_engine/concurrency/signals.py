"""Signal handlers: where none runs, and which exceptions are theirs.

What user code raises in a callback is contained and reported. What a signal handler
raises belongs to the verb that it interrupted, and comes out of that verb. So does what
gevent raises in a greenlet to end it. So each place that contains user code asks here.
"""

from __future__ import annotations

import dis
import signal
from functools import partial
from itertools import pairwise
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from waterdrop_py._engine.concurrency.native import ends_greenlet, on_main_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType, TracebackType

_F = TypeVar("_F", bound="Callable[..., Any]")
_AFTER_YIELD_FROM: Final = 2


def no_signal_at_entry(function: _F) -> _F:
    """Let no signal handler run between the call of `function` and its first line.

    A handler runs at the first bytecode that checks for one. For a signal during a
    native poll, that is the beginning of the report's callback. If the handler raises
    there, confluent-kafka drops the report and the traceback. With a timer that raises
    during `produce_sync`, 250 of 1100 exceptions cost a report; with this, none did
    (Python 3.11, confluent-kafka 2.16.1).

    From Python 3.11 on, a function begins with RESUME, whose operand says where it
    stands. CPython skips the check after a `yield from` (the operand is documented in
    `dis`). Python 3.10 skips it before a `try`, with which `function` must begin.
    """
    code = function.__code__
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RESUME":
            changed = bytearray(code.co_code)
            changed[instruction.offset + 1] = _AFTER_YIELD_FROM
            function.__code__ = code.replace(co_code=bytes(changed))
            break
    return function


def from_signal_handler(error: BaseException) -> bool:
    """Whether a signal handler raised `error`, or gevent in a greenlet of the user's.

    Handlers run on the main thread only. There a KeyboardInterrupt counts as one's, and
    so does an exception that passed through a handler's frame. That is the frame of an
    installed handler, or of one that was called as such and has replaced itself.
    """
    if ends_greenlet(error):
        return True
    if not on_main_thread():
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    codes = set(_codes())
    return any(
        frame.f_code in codes or _called_as_handler(frame)
        for frame in _frames(error.__traceback__)
    )


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
    """The code that a signal handler runs, if it is written in Python."""
    while True:
        if isinstance(handler, FunctionType):
            return handler.__code__
        if isinstance(handler, partial):
            handler = handler.func
        elif isinstance(handler, MethodType):
            handler = handler.__func__
        else:  # an object with a `__call__`, or written in C
            called = next(_calls(type(handler)), None)
            return called.__code__ if isinstance(called, FunctionType) else None


def _calls(kind: type) -> Iterator[Any]:
    return (vars(each)["__call__"] for each in kind.__mro__ if "__call__" in vars(each))


def _called_as_handler(frame: FrameType) -> bool:
    """Whether its arguments are those of a signal handler: a signal's number, and the
    interrupted frame, which is the one below it."""
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
"""`inspect.CO_VARARGS`; `inspect` takes long to import."""
