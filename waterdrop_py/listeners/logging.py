"""Defines `LoggingListener`, which logs events with the standard library's logging."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias

from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import Event
from waterdrop_py.listeners._base import EventLogger, fields_of

if TYPE_CHECKING:
    _Adapter: TypeAlias = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # takes no type argument on Python 3.10


class LoggingListener(EventLogger):
    """Logs events: `monitor.subscribe(LoggingListener())`.

    A line is the event's name and its payload as `key=value`. Lifecycle events are
    INFO, a refused disconnect is WARNING, `error.occurred` is ERROR. Errors that user
    code raised have their traceback. Each record has the attributes `event_name` and
    `producer_id`.

    Args:
        logger: the name of a logger, a `logging.Logger`, or a `logging.LoggerAdapter`.
        messages: also log the events of each message, at DEBUG, which slows down every
            send. Payloads, keys and headers are never logged.

    Blocks as long as the logger's handlers do. Thread-safe. Does not configure logging,
    and does not make librdkafka collect statistics.

    Raises:
        InvalidArgumentError: `logger` is neither a name nor a logger.

    Example:
        >>> unsubscribe = producer.monitor.subscribe(LoggingListener("orders.kafka"))
    """

    def __init__(
        self,
        logger: str | logging.Logger | _Adapter = "waterdrop_py",
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
        """Write one event at `level`, one of `logging`; with the traceback of `traced`.

        Called once for each event.
        """
        if not self._logger.isEnabledFor(level):
            return
        fields = fields_of(event)
        text = " ".join(f"{key}={value!r}" for key, value in fields.items())
        extra = {"event_name": event.name, "producer_id": fields.get("producer_id")}
        self._logger.log(level, "%s %s", event.name, text, exc_info=traced, extra=extra)
