"""gunicorn's hooks: what prometheus_client asks for in multiprocess mode."""

from __future__ import annotations

from typing import Any


def child_exit(server: Any, worker: Any) -> None:
    """In the master: a worker that has ended has no gauge."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
