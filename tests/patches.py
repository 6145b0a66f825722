"""Patches that only the thread of a test meets."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

P = ParamSpec("P")
T = TypeVar("T")


def here_only(fake: Callable[P, T], real: Callable[P, T]) -> Callable[P, T]:
    """`fake` on this thread, and `real` on all others: the library's threads look at
    the clock, and count what is left, a second after another test has ended."""
    me = get_ident()

    def either(*arguments: P.args, **named: P.kwargs) -> T:
        return (fake if get_ident() == me else real)(*arguments, **named)

    return either


def set_system_clock(monkeypatch: pytest.MonkeyPatch, now: Callable[[], float]) -> None:
    """Have waits of this thread measured by `now`."""
    monkeypatch.setattr(clock, "system_now", here_only(now, clock.system_now))
