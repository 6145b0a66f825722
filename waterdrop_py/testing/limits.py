"""Lifting limits that a test has no time for."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Literal

from waterdrop_py._settings.durations import short_connections_allowed


class _ShortIdleTimeouts(ContextDecorator):
    def __enter__(self) -> None:
        short_connections_allowed.append(None)

    def __exit__(self, *_exc: object) -> Literal[False]:
        short_connections_allowed.pop()
        return False


def allow_short_idle_timeouts() -> _ShortIdleTimeouts:
    """Lift the 30 000 ms minimum of idle and age limits to 1 ms, as long as it is open.

    For `idle_disconnect_timeout` and `max_connection_age`, in the whole process, of
    each `Config` built meanwhile. A context manager and a decorator; nests, and may be
    used by several threads at once. Never blocks.
    """
    return _ShortIdleTimeouts()
