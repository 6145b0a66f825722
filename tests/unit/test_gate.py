"""What a fork waits for, and what it does not wait for."""

from __future__ import annotations

from threading import get_ident
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.process.fork_guard import SETTLED, ForkGate

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Life


class Opened(SimpleNamespace):
    """A client with one message on its way, as far as the gate looks."""

    client: Any = object()
    acknowledged = failed = 0

    def in_flight(self) -> int:
        """Its message, until there is a report."""
        return 1 - self.acknowledged - self.failed


@pytest.fixture
def gate() -> ForkGate:
    """A gate with no client yet."""
    return ForkGate()


def unsettled(gate: ForkGate, after: float) -> bool:
    """Whether a fork that many seconds from now would wait."""
    return gate._unsettled(clock.system_now() + after)  # noqa: SLF001 - no waits here


def opened(gate: ForkGate) -> Opened:
    """A client that was just opened."""
    life = Opened()
    gate.enter()
    gate.leave(cast("Life", life))
    return life


def test_a_fork_waits_for_a_client_that_connects(gate: ForkGate) -> None:
    """With a message and no report: its threads may hold the C library's lock."""
    life = opened(gate)
    assert unsettled(gate, SETTLED * 2)
    life.acknowledged = 1
    assert not unsettled(gate, SETTLED * 2)


def test_a_fork_does_not_wait_for_what_never_connects(gate: ForkGate) -> None:
    """The brokers are down, or the client is gone: a fork does not pay for it."""
    life = opened(gate)
    assert not unsettled(gate, 0.25)
    life.client = None
    assert not unsettled(gate, SETTLED * 2)


def test_a_fork_waits_for_a_close_of_another_thread(gate: ForkGate) -> None:
    """For a second: after that it hangs, and a fork does not hang with it."""
    other = get_ident() + 1
    gate._closing.append((other, clock.system_now()))  # noqa: SLF001
    assert unsettled(gate, 0.5)
    assert not unsettled(gate, 1.1)


def test_a_fork_inside_a_close_does_not_wait_for_itself(gate: ForkGate) -> None:
    """A subscriber or a destructor may fork."""
    with gate.closing():
        assert not unsettled(gate, 0.0)
    assert not unsettled(gate, 0.0)
