"""gunicorn's hooks."""

from __future__ import annotations

from typing import Any


def worker_exit(server: Any, worker: Any) -> None:
    """Tell that this worker has nothing left to do, before its interpreter ends."""
    from tests.scenarios.programs import served

    served.tell_leaving()
