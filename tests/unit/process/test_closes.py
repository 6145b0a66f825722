"""The closes in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tests.patches import set_system_clock
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.process.closes import Close, Closes
from waterdrop_py._engine.process.reaper import RELIEF

if TYPE_CHECKING:
    import pytest


class Hanging:
    """A close in progress, which counts how often it is looked at."""

    def __init__(self) -> None:
        self.looks = 0
        self.started = clock.system_now()
        self.close_timeout = 1.0

    def retry_if_stuck(self) -> None:
        """Nothing came of it yet."""
        self.looks += 1

    def abandon(self) -> None:
        """It is given up."""


def test_closes_in_progress_are_looked_at_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not whenever the reaper wakes, which it does for each of a thousand closes."""
    now = [100.0]
    set_system_clock(monkeypatch, lambda: now[0])
    closes, hanging = Closes(lambda job: job()), Hanging()
    close = cast("Close", hanging)
    closes.begin(close)
    for looks in range(1, 4):
        for _ in range(5):
            assert closes.check()
            assert hanging.looks == looks
        now[0] += RELIEF
    closes.end(close)
    assert not closes.check()


def test_a_close_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the reaper too, where no caller waits for it."""
    now = [100.0]
    set_system_clock(monkeypatch, lambda: now[0])
    jobs: list[object] = []
    closes, hanging = Closes(jobs.append), Hanging()
    closes.begin(cast("Close", hanging))
    assert closes.check()
    assert jobs == []
    now[0] += hanging.close_timeout + RELIEF
    assert closes.check()
    assert jobs == [hanging.abandon]
