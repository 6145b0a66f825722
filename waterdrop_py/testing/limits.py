"""`allow_short_idle_timeouts`: lifting limits that tests cannot wait for."""

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
    """Lower the 30 000 ms minimum of idle and age limits to 1 ms inside the block.

    For `idle_disconnect_timeout` and `max_connection_age` of each `Config` built
    meanwhile, in the whole process. A context manager and a decorator. It nests, and
    several threads may use it at once. Never blocks.

    Example:
        >>> kafka = {"bootstrap.servers": "localhost:9092"}
        >>> with allow_short_idle_timeouts():
        ...     config = Config(kafka=kafka, idle_disconnect_timeout="1s")
    """
    return _ShortIdleTimeouts()
