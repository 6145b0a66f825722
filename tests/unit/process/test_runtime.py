"""What the process has one of: when its threads end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.process.runtime import RUNTIME, Runtime

if TYPE_CHECKING:
    import pytest


def test_only_the_last_of_many_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that other closes still need are not ended, nor waited for."""
    ended: list[Runtime] = []

    def end_threads(runtime: Runtime) -> None:
        ended.append(runtime)

    monkeypatch.setattr(Runtime, "_end_threads", end_threads)
    monkeypatch.setattr(Runtime, "registered", lambda _: [])
    with RUNTIME.during_close():
        with RUNTIME.during_close():
            pass
        RUNTIME.end_threads_if_unused()
        assert ended == []
    RUNTIME.end_threads_if_unused()
    assert ended == [RUNTIME]
