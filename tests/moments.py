"""Acting at each moment at which CPython runs a signal handler or another thread."""

from __future__ import annotations

import dis
import gc
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import waterdrop_py

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

PACKAGE = os.path.dirname(waterdrop_py.__file__) + os.sep
GENERATOR = 0x20
"""`inspect.CO_GENERATOR`: one that is closed is entered too. CPython does not look when
it has yielded or ended."""
SKIPPED = 2
"""From this operand on, a RESUME looks for no signal and no thread."""
AFTER_CALLS = ("c_return", "return") if sys.version_info < (3, 11) else ("c_return",)
"""Up to Python 3.10 CPython looks when a function that is written in Python has
returned, too."""


class Moments:
    """Calls `act` at one of the moments of a block, on the thread of the block.

    CPython looks for signals and for other threads at the entry of a function that is
    written in Python, and when one in C has returned. Those in the code of `room`, a
    folder or file of the library, are counted from 1 on. No garbage is collected
    meanwhile, on any thread: finalizers and callbacks of weak references, of whatever
    other tests have left, would be moments.

    Attributes:
        count: how many there were, as long as `act` was not called.
    """

    def __init__(self, room: str, at: int, act: Callable[[], object]) -> None:
        self._within = PACKAGE + room
        self._at = at
        self._act = act
        self._collects = False
        self.count = 0

    def __enter__(self) -> Moments:
        self._collects = gc.isenabled()
        gc.disable()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        if self._collects:
            gc.enable()

    @property
    def reached(self) -> bool:
        """Whether `act` was called."""
        return self.count >= self._at

    def _event(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "return":  # it is the caller that goes on
            caller = frame.f_back
            if caller is None or code.co_flags & GENERATOR:
                return
            code = caller.f_code
        if not code.co_filename.startswith(self._within):
            return
        entered = event == "call" and not (
            is_guarded(code) or code.co_flags & GENERATOR
        )
        if entered or event in AFTER_CALLS:
            self.count += 1
            if self.count == self._at:
                sys.setprofile(None)
                self._act()


@cache
def is_guarded(code: CodeType) -> bool:
    """Whether CPython looks for nothing at its entry (`no_signal_at_entry`)."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RESUME":
            return (instruction.arg or 0) >= SKIPPED
        if instruction.opname == "SETUP_FINALLY":  # Python 3.10
            return instruction.offset == 0
    return False


def each_moment(
    room: str, act: Callable[[], object], most: int = 2_000
) -> Iterator[Moments]:
    """A block for each moment in `room`, until a block has no further one."""
    for at in range(1, most):
        moments = Moments(room, at, act)
        yield moments
        if not moments.reached:
            return
    raise AssertionError(f"more than {most} moments")


def in_finalizer() -> bool:
    """Whether this is inside of one, which may be of the garbage of any test."""
    frame = sys._getframe()  # noqa: SLF001 - documented, of CPython
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "__del__":
            return True
    return False


def interrupt() -> None:
    """What a handler of Ctrl-C does. Not inside of a finalizer: Python prints what is
    raised there, and goes on."""
    if not in_finalizer():
        raise KeyboardInterrupt
