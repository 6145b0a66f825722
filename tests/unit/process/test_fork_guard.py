"""What a fork waits for, and what it does not wait for."""

from __future__ import annotations

from threading import get_ident
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.process.fork_guard import SETTLED, ForkGuard

if TYPE_CHECKING:
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
