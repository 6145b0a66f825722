"""The one source of time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from waterdrop_py._engine.concurrency import clock
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.testing import FakeClock


def test_the_systems_clock_runs() -> None:
    """It is the default, and never goes back."""
    assert clock.is_real()
    first = clock.now()
    assert clock.now() >= first
    assert clock.system_now() >= first


def test_a_fake_clock_rings_when_it_moves() -> None:
    """Threads that sleep until a deadline look again at each move, and at the end."""
    rings: list[float] = []

    def observe() -> None:
        rings.append(clock.now())

    clock.on_jump(observe)
    with FakeClock(100.0) as time:
        time.advance(5)
        time.advance(timedelta(minutes=1))
        assert not clock.is_real()
        assert clock.now() == 165.0
        with pytest.raises(ValueError, match="negative"):
            time.advance(-1)
    assert clock.is_real()
    assert rings[:3] == [100.0, 105.0, 165.0]
    assert len(rings) == 4


@pytest.mark.parametrize(
    "given", [float("nan"), float("inf"), 10**400, "5", None, True]
)
def test_a_fake_clock_stays_at_a_moment(given: Any) -> None:
    """A value that is not a number of seconds does not move it."""
    time = FakeClock(100.0)
    with pytest.raises(InvalidArgumentError, match="duration"):
        time.advance(given)
    assert time.now() == 100.0
    with pytest.raises(InvalidArgumentError, match="start"):
        FakeClock(given)
