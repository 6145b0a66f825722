"""How hypothesis tries things: as long as it takes; and threads that never come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from waterdrop_py._engine.concurrency import threads

if TYPE_CHECKING:
    from collections.abc import Callable

# What an example takes of the wall clock says nothing of the library: a machine that is
# busy stops a test for longer than the 200 ms that are allowed by default.
settings.register_profile(
    "waterdrop", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("waterdrop")


@pytest.fixture
def started_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the library's threads that the thread of the test starts. Others
    start some for what earlier tests have left."""
    names: list[str] = []
    start, here = threads.start, threading.get_ident()

    def noting(name: str, run: Callable[[], None]) -> bool:
        if threading.get_ident() == here:
            names.append(name)
        return start(name, run)

    monkeypatch.setattr(threads, "start", noting)
    return names


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """The threads that would have been started, for the test to run."""
    begun: list[Callable[[], None]] = []

    def start(_: str, run: Callable[[], None]) -> bool:
        begun.append(run)
        return True

    monkeypatch.setattr(threads, "start", start)
    return begun
