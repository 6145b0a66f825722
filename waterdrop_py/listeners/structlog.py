"""A listener that logs events with structlog."""

from __future__ import annotations

import logging
from typing import Any

import structlog

from waterdrop_py.listeners._base import EventLogger, fields_of
from waterdrop_py.monitor import Event


class StructlogListener(EventLogger):
    """Logs what producers do: `monitor.subscribe(StructlogListener())`.

    The event's name is the log line's event, its payload the key-value pairs, with
    `duration_ms` where there is a duration and `tags` where there are any. Lifecycle
    is info, a refused disconnect warning, `error.occurred` error. The payload key
    `event` is logged as `during`, since structlog has its own.

    Args:
        logger: a structlog logger; None takes `structlog.get_logger("waterdrop_py")`,
            which follows the process's structlog configuration whenever that is made.
        messages: also log what comes per message, at debug and at its price for each
            message. Payloads, keys and headers are never logged.

    Thread-safe as far as the logger is. Does not configure structlog or logging, and
    does not have statistics collected.
    """

    def __init__(self, logger: Any = None, *, messages: bool = False) -> None:
        super().__init__(messages=messages)
        self._logger = (
            structlog.get_logger("waterdrop_py") if logger is None else logger
        )

    def write(self, level: int, event: Event, traced: BaseException | None) -> None:
        """Write one event, with the traceback of `traced`."""
        fields = fields_of(event)
        if "event" in fields:
            fields["during"] = fields.pop("event")
        if traced is not None:
            fields["exc_info"] = traced
        say = getattr(self._logger, logging.getLevelName(level).lower())
        say(event.name, **fields)
