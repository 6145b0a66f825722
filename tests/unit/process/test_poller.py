"""When the poller looks at everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.process.poller import Poller

if TYPE_CHECKING:
    import pytest


def test_a_sweep_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes at its time, also where a usual one falls due shortly before: the wait
    at the process's end is said when it gets long, and not up to a second later."""
    now, swept = [100.0], list[float]()
    monkeypatch.setattr(clock, "system_now", lambda: now[0])
    poller = Poller(lambda _: None, lambda _: swept.append(now[0]))
    poller._running.take(Hold())  # noqa: SLF001

    poller._serve_due()  # noqa: SLF001
    poller.sweep_by(101.25)
    poller._run_jobs()  # noqa: SLF001
    for quarter in range(401, 412):
        now[0] = quarter / 4
        poller._serve_due()  # noqa: SLF001

    assert swept == [100.0, 101.0, 101.25, 102.25]
