"""gunicorn's hooks: when a worker has nothing left to do, and when it has ended."""

from __future__ import annotations

from typing import Any


def worker_exit(server: Any, worker: Any) -> None:
    """Runs in the worker, before its interpreter ends."""
    from tests.scenarios.programs import served

    served.tell_leaving()


def child_exit(server: Any, worker: Any) -> None:
    """Runs in the master."""
    from tests.scenarios.programs import served

    served.tell_gone(worker.pid)
