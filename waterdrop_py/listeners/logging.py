"""A listener that logs events with the standard library's logging."""

from __future__ import annotations

import logging

from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.listeners._base import EventLogger, fields_of
from waterdrop_py.monitor import Event


class LoggingListener(EventLogger):
    """Logs what producers do: `monitor.subscribe(LoggingListener())`.

    A line is the event's name and its payload as `key=value`. Lifecycle is INFO, a
    refused disconnect WARNING, `error.occurred` ERROR, with the traceback where user
    code raised. Each record has the attributes `event_name` and `producer_id`.

    Args:
        logger: the name of a logger, or a `logging.Logger` (or an adapter of one).
        messages: also log what comes per message, at DEBUG and at its price for each
            message. Payloads, keys and headers are never logged.

    Thread-safe. Does not configure logging, and does not have statistics collected.

    Raises:
        InvalidArgumentError: `logger` is neither.
    """

    def __init__(
        self,
        logger: str | logging.Logger | logging.LoggerAdapter[logging.Logger] = (
            "waterdrop_py"
        ),
        *,
        messages: bool = False,
    ) -> None:
        super().__init__(messages=messages)
        if isinstance(logger, str):
            logger = logging.getLogger(logger)
        elif not isinstance(logger, logging.Logger | logging.LoggerAdapter):
            raise InvalidArgumentError(
                "logger: must be the name of a logger or a logging.Logger, got "
                f"{shown(logger)}"
            )
        self._logger = logger

    def write(self, level: int, event: Event, traced: BaseException | None) -> None:
        """Write one event, with the traceback of `traced`."""
        if not self._logger.isEnabledFor(level):
            return
        fields = fields_of(event)
        text = " ".join(f"{key}={value!r}" for key, value in fields.items())
        extra = {"event_name": event.name, "producer_id": fields.get("producer_id")}
        self._logger.log(level, "%s %s", event.name, text, exc_info=traced, extra=extra)
