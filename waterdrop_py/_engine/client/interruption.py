"""What a signal handler raised, where confluent-kafka raises something else instead."""

from __future__ import annotations

import dis
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency.signals import (
    code_of,
    from_signal_handler,
    on_main_thread,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOST: Final = (
    "expected header key to be unicode string",
    "expected configuration property name as type unicode string",
    "expected configuration property value as type unicode string",
)
"""TypeErrors that stand for a handler's exception: names and values were validated.

`PyObject_Str` lets signal handlers run before it looks at its argument. confluent-kafka
takes any exception out of it for a wrong type and raises its own: the other one is gone
(2.16.1; with ten headers, in 11 % of the interrupts of `produce_async`).
"""

_NO_EXCEPTION: Final = "returned NULL without setting an exception"
"""The end of a SystemError that stands for one: a native callback was interrupted."""


def raise_interruption(error: BaseException) -> None:
    """Raise the exception of a signal handler that `error` stands for; return where it
    stands for itself. Called while `error` is handled."""
    own = _own(error)
    try:
        if own is not None:
            raise own
    finally:
        if own is not None:
            own.__context__ = None  # which is `error`
        del error, own  # the traceback would hold the frame that holds them


def surface() -> None:
    """Raise what confluent-kafka has left set as it returned, as a SystemError that
    names it: a signal handler may raise inside its constructor, which goes on."""
    hash(_PROBE)


class _Probe:
    """C calls its `__hash__`, and then looks for an exception that is set."""

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
    """What the handler raises when it is called again: what it raised is gone.

    Only where it is plain which one it was.
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
    """The handler that has raised, if there is only one that can have.

    Ctrl-C's own is there in most processes and does nothing but raise: it is meant
    where nothing else raises.
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
