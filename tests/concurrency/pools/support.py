"""Acting at each moment at which CPython runs a signal handler or another thread."""

from __future__ import annotations

import dis
import os
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import waterdrop_py
from tests.doubles import Run, eventually
from waterdrop_py.errors import PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    from waterdrop_py import ProducerPool

POOLS = os.path.join(os.path.dirname(waterdrop_py.__file__), "pools") + os.sep
GENERATOR = 0x20  # `inspect.CO_GENERATOR`: one that is closed is entered too
SKIPPED = 2
"""From this operand on, a RESUME looks for no signal and no thread."""


class Moments:
    """Calls `act` at one of the moments of a block, on the thread of the block.

    CPython looks for signals and for other threads at the entry of a function that is
    written in Python, and when one in C has returned. Those in the pools' own code are
    counted from 1 on.

    Attributes:
        count: how many there were, as long as `act` was not called.
    """

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self._at = at
        self._act = act
        self.count = 0

    def __enter__(self) -> Moments:
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    @property
    def reached(self) -> bool:
        """Whether `act` was called."""
        return self.count >= self._at

    def _event(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(POOLS):
            return
        entered = event == "call" and not (
            is_guarded(code) or code.co_flags & GENERATOR
        )
        if entered or event == "c_return":
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


def each_moment(act: Callable[[], object], most: int = 2_000) -> Iterator[Moments]:
    """A block for each moment, until a block has no further one."""
    for at in range(1, most):
        moments = Moments(at, act)
        yield moments
        if not moments.reached:
            return
    raise AssertionError(f"more than {most} moments")


def aside(call: Callable[[], object]) -> Callable[[], object]:
    """The same on another thread, to its end."""
    return lambda: Run(call).result()


def interrupt() -> None:
    """What a handler of Ctrl-C does. Not inside of a finalizer: Python prints what is
    raised there, and goes on."""
    frame = sys._getframe()  # noqa: SLF001 - documented, of CPython
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "__del__":
            return
    raise KeyboardInterrupt


def whole_again(pool: ProducerPool, leases: int) -> None:
    """All leases of the pool can be taken and given back, and each request was counted
    once."""
    stats = pool.stats()
    assert stats.requests == (
        stats.granted + stats.timed_out + stats.refused + stats.waiting
    )
    if pool.closed:
        with suppress(PoolClosedError):
            pool.acquire(0)
            raise AssertionError("a closed pool gave a lease")
        return
    taken = [pool.acquire(5) for _ in range(leases)]
    assert pool.stats().leased == leases
    for lease in taken:
        lease.release()
    stats = pool.stats()
    assert (stats.leased, stats.waiting, stats.available) == (0, 0, leases)
    eventually(lambda: pool.stats().draining == 0, "what was retired is closed")
