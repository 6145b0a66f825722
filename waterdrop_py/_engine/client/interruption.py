"""Exceptions of signal handlers that confluent-kafka replaces by its own."""

from __future__ import annotations

import dis
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency.native import on_main_thread
from waterdrop_py._engine.concurrency.signals import (
    code_of,
    from_signal_handler,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOST: Final = (
    "expected header key to be unicode string",
    "expected configuration property name as type unicode string",
    "expected configuration property value as type unicode string",
)
"""Texts of TypeErrors that replace a handler's exception: all names were validated.

`PyObject_Str` lets signal handlers run before it looks at its argument. confluent-kafka
takes any exception for a wrong type and raises its own, and the handler's is lost
(2.16.1; with ten headers, in 11 % of the interrupts of `produce_async`).
"""

_NO_EXCEPTION: Final = (
    "returned NULL without setting an exception",
    "error return without exception set",
)
"""Ends of a SystemError that replaces one: a native callback or constructor was
interrupted. The second: a garbage collection has reported and dropped it (3.13)."""


def raise_interruption(error: BaseException) -> None:
    """Raise the signal handler's exception that `error` replaces; else return.

    Called while `error` is handled.
    """
    own = _own(error)
    try:
        if own is not None:
            raise own
    finally:
        if own is not None:
            own.__context__ = None  # which is `error`
        del error, own  # the traceback would hold the frame that holds them


def raise_left_over() -> None:
    """Raise an exception that confluent-kafka has left set, as a SystemError.

    A signal handler may raise inside its constructor, which then goes on.
    """
    hash(_PROBE)


class _Probe:
    """C code calls its `__hash__`, and then checks for an exception that is set."""

    def __hash__(self) -> int:
        return 0


_PROBE: Final = _Probe()


def _own(error: BaseException) -> BaseException | None:
    if isinstance(error, SystemError):
        behind = next(filter(from_signal_handler, _behind(error)), None)
        if behind is not None or not str(error).endswith(_NO_EXCEPTION):
            return behind
    elif not isinstance(error, TypeError) or str(error) not in _LOST:
        return None
    return _again() if on_main_thread() else None


def _behind(error: BaseException) -> Iterator[BaseException]:
    following = error.__cause__ or error.__context__
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _again() -> BaseException:
    """What the handler raises when it is called again; its exception was lost.

    Only where it is certain which handler it was.
    """
    handler = _raising_handler()
    if handler is not None:
        number, call = handler
        try:
            call(number, sys._getframe())  # noqa: SLF001 - documented
        except BaseException as error:  # noqa: BLE001 - it is raised by the caller
            return error
    return InterruptedError(
        "a signal handler raised inside of confluent-kafka, which lost its exception"
    )


def _raising_handler() -> tuple[int, Any] | None:
    """The handler that has raised, if only one can have.

    Ctrl-C's own handler is installed in most processes and only raises. It is the one
    where no other handler raises.
    """
    installed = [(each, signal.getsignal(each)) for each in signal.valid_signals()]
    handlers = [(number, call) for number, call in installed if callable(call)]
    others = [each for each in handlers if each[1] is not signal.default_int_handler]
    if len(others) > 1:
        others = [each for each in others if _raises(each[1])]
    meant = others or handlers
    return meant[0] if len(meant) == 1 else None


def _raises(handler: Any) -> bool:
    code = code_of(handler)
    return code is not None and any(
        each.opname == "RAISE_VARARGS" for each in dis.get_instructions(code)
    )
