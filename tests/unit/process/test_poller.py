"""When the poller looks at everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.patches import set_system_clock
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.process.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def test_a_sweep_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes at its time, also where a usual one falls due shortly before: the wait
    at the process's end is said when it gets long, and not up to a second later."""
    now, swept = [100.0], list[float]()
    set_system_clock(monkeypatch, lambda: now[0])
    poller = Poller(lambda _: None, lambda _: swept.append(now[0]))
    poller._running.take(Hold())  # noqa: SLF001

    poller._serve_due()  # noqa: SLF001
    poller.sweep_by(101.25)
    poller._run_jobs()  # noqa: SLF001
    for quarter in range(401, 412):
        now[0] = quarter / 4
        poller._serve_due()  # noqa: SLF001

    assert swept == [100.0, 101.0, 101.25, 102.25]


def test_a_job_that_comes_as_the_poller_ends(
    monkeypatch: pytest.MonkeyPatch, started: list[Callable[[], None]]
) -> None:
    """The poller has looked for the last time and still holds its lock, so no other
    thread is started for the job: the poller looks again after the release."""
    monkeypatch.setattr("waterdrop_py._engine.process.poller.LINGER", 0.0)
    ran: list[str] = []
    late = [lambda: ran.append("late")]
    poller = Poller(lambda _: None)

    class Lock(OwnedLock):
        """Before whose first release the job comes."""

        def release(self, hold: Hold) -> bool:
            if late:
                poller.do(late.pop())
            return super().release(hold)

    poller._running = Lock()  # noqa: SLF001 - what a caller looks at
    poller._run()  # noqa: SLF001
    assert ran == ["late"]
    assert not started
