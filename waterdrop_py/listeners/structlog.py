"""Defines `StructlogListener`, which logs events with structlog."""

from __future__ import annotations

import logging
from typing import Any

import structlog

from waterdrop_py.events import Event
from waterdrop_py.listeners._base import EventLogger, fields_of


class StructlogListener(EventLogger):
    """Logs events: `monitor.subscribe(StructlogListener())`.

    The event's name is the log line's event, and its payload the key-value pairs.
    Timed events add `duration_ms`; producers with tags add `tags`. Lifecycle events are
    info, a refused disconnect is warning, `error.occurred` is error. The payload key
    `event` is logged as `during`, because structlog uses `event` itself.

    Args:
        logger: a structlog logger. None is `structlog.get_logger("waterdrop_py")`,
            which follows the structlog configuration, also one that is made later.
        messages: also log the events of each message, at debug, which slows down every
            send. Payloads, keys and headers are never logged.

    Blocks as long as the logger does. Thread-safe if the logger is. Does not configure
    structlog or logging, and does not make librdkafka collect statistics.

    Example:
        >>> from waterdrop_py.listeners import StructlogListener
        >>> unsubscribe = producer.monitor.subscribe(StructlogListener())
    """

    def __init__(self, logger: Any = None, *, messages: bool = False) -> None:
        super().__init__(messages=messages)
        self._logger = (
            structlog.get_logger("waterdrop_py") if logger is None else logger
        )

    def write(self, level: int, event: Event, traced: BaseException | None) -> None:
        """Write one event at `level`, one of `logging`; with the traceback of `traced`.

        Called once for each event. What the logger raises becomes an `error.occurred`
        with the type `subscriber.error`.
        """
        fields = fields_of(event)
        if "event" in fields:
            fields["during"] = fields.pop("event")
        if traced is not None:
            fields["exc_info"] = traced
        log = getattr(self._logger, logging.getLevelName(level).lower())
        log(event.name, **fields)
