"""What a fork waits for, and what it does not wait for."""

from __future__ import annotations

from threading import get_ident
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.doubles import Run, eventually
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.process import fork_guard as room
from waterdrop_py._engine.process.fork_guard import SETTLED, ForkGuard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py._engine.client.client import Client


class Opened(SimpleNamespace):
    """A client with one message on its way, as far as the gate looks."""

    native: Any = object()
    acknowledged = failed = 0

    def in_flight(self) -> int:
        """Its message, until there is a report."""
        return 1 - self.acknowledged - self.failed


@pytest.fixture
def fork_guard() -> ForkGuard:
    """A gate with no client yet."""
    return ForkGuard()


def unsettled(fork_guard: ForkGuard, after: float) -> bool:
    """Whether a fork that many seconds from now would wait."""
    return fork_guard._unsettled(clock.system_now() + after)  # noqa: SLF001 - no waits here


def opened(fork_guard: ForkGuard) -> Opened:
    """A client that was just opened."""
    client = Opened()
    fork_guard.begin_open()
    fork_guard.end_open(cast("Client", client))
    return client


def test_a_fork_waits_for_a_client_that_connects(fork_guard: ForkGuard) -> None:
    """With a message and no report: its threads may hold the C library's lock."""
    client = opened(fork_guard)
    assert unsettled(fork_guard, SETTLED * 2)
    client.acknowledged = 1
    assert not unsettled(fork_guard, SETTLED * 2)


def test_a_fork_does_not_wait_for_what_never_connects(fork_guard: ForkGuard) -> None:
    """The brokers are down, or the client is gone: a fork does not pay for it."""
    client = opened(fork_guard)
    assert not unsettled(fork_guard, 0.25)
    client.native = None
    assert not unsettled(fork_guard, SETTLED * 2)


def test_a_fork_waits_for_a_close_of_another_thread(fork_guard: ForkGuard) -> None:
    """For a second: after that it hangs, and a fork does not hang with it."""
    other = get_ident() + 1
    fork_guard._closing.append((other, clock.system_now()))  # noqa: SLF001
    assert unsettled(fork_guard, 0.5)
    assert not unsettled(fork_guard, 1.1)


def test_a_fork_inside_a_close_does_not_wait_for_itself(fork_guard: ForkGuard) -> None:
    """A subscriber or a destructor may fork."""
    with fork_guard.closing():
        assert not unsettled(fork_guard, 0.0)
    assert not unsettled(fork_guard, 0.0)


def test_a_fork_waits_for_an_open_of_another_thread(fork_guard: ForkGuard) -> None:
    """And a moment longer: the client's threads may run and not be connected yet."""
    fork_guard._opening.append(get_ident() + 1)  # noqa: SLF001
    assert unsettled(fork_guard, SETTLED * 2)
    fork_guard._opening.clear()  # noqa: SLF001
    opened(fork_guard).acknowledged = 1
    assert unsettled(fork_guard, 0.0)
    assert not unsettled(fork_guard, SETTLED * 2)


def test_an_open_waits_for_a_fork_of_another_thread(fork_guard: ForkGuard) -> None:
    """Until that has ended; meanwhile the fork does not wait for it."""
    fork_guard._forking.append(get_ident() + 1)  # noqa: SLF001
    opening = Run(fork_guard.begin_open)
    eventually(lambda: fork_guard._wakeups)  # noqa: SLF001
    assert not fork_guard.opening
    fork_guard._forking.clear()  # noqa: SLF001
    fork_guard.end_fork()
    opening.result()
    assert fork_guard.opening


def test_an_open_is_announced_before_it_looks(fork_guard: ForkGuard) -> None:
    """A fork that begins after that look sees the open, and waits for it."""
    seen: list[bool] = []

    class Forking(list[int]):
        """Forks; notes whether the open is announced at each look."""

        def __iter__(self) -> Iterator[int]:
            seen.append(fork_guard.opening)
            return super().__iter__()

    fork_guard._forking = Forking()  # noqa: SLF001
    fork_guard.begin_open()
    assert seen == [True]


def test_a_fork_that_ends_before_the_wakeup_is_added(
    fork_guard: ForkGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes no thread. The open looks again, and does not wait."""

    class Wakeup:
        """No thread calls it."""

        def wait(self, _: float) -> None:
            raise AssertionError("it waits, and no thread wakes it")

    class Late(list[Any]):
        """Wake-ups; the fork ends just before one is added."""

        def append(self, wakeup: object) -> None:
            fork_guard._forking.clear()  # noqa: SLF001
            super().append(wakeup)

    monkeypatch.setattr(room, "Wakeup", Wakeup)
    fork_guard._wakeups = Late()  # noqa: SLF001
    fork_guard._forking.append(get_ident() + 1)  # noqa: SLF001
    fork_guard.begin_open()
    assert fork_guard.opening
