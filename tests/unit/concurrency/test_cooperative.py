"""A greenlet that waits, and a thread that wakes it: one of the two sees the other."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.concurrency import cooperative
from waterdrop_py._engine.concurrency.wakeup import Wakeup

if TYPE_CHECKING:
    import pytest


def test_a_wake_up_that_comes_before_the_sleeper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread finds no sleeper. The greenlet looks at the flag after it was added,
    and does not sleep."""
    wakeup = Wakeup()

    class Late(list[Any]):
        """Sleepers; the wake-up comes just before one is added."""

        def append(self, sleeper: object) -> None:
            wakeup()
            super().append(sleeper)

    def sleep(*_: object) -> None:
        raise AssertionError("it sleeps, and no thread wakes it")

    gevent = SimpleNamespace(getcurrent=object)
    monkeypatch.setitem(sys.modules, "gevent", gevent)
    hub = SimpleNamespace(loop=object())
    monkeypatch.setattr(cooperative, "hub_of_thread", lambda: hub)
    monkeypatch.setattr(cooperative.Sleeper, "sleep", sleep)
    wakeup._sleepers = Late()  # noqa: SLF001
    assert wakeup.wait(5)
    assert not wakeup._sleepers  # noqa: SLF001


def test_a_sleeper_that_comes_as_it_is_woken() -> None:
    """The thread releases the flag before it looks for sleepers: one that is added
    after that look finds the flag free."""
    wakeup = Wakeup()
    looks: list[bool] = []

    class Sleepers(list[Any]):
        """Notes the flag at each look."""

        def __bool__(self) -> bool:
            looks.append(wakeup._flag.locked())  # noqa: SLF001
            return super().__len__() > 0

    wakeup._sleepers = Sleepers()  # noqa: SLF001
    wakeup()
    assert looks == [False]
