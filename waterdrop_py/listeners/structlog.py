"""A listener that logs every event with structlog."""

from __future__ import annotations

from typing import Any

import structlog

from waterdrop_py.events import EVENTS, listener_method
from waterdrop_py.monitor import Event

# Once per message, or every few seconds.
_CHATTY = ("message.", "messages.", "statistics.")
# Errors of code that is not ours: without the traceback they cannot be found.
_TRACED = ("subscriber.", "callbacks.", "poller.")
# The users' own payloads, and what is too long for a line.
_MESSAGES = frozenset({"message", "messages", "delivery_report"})
_OMITTED = frozenset({"statistics", "error"})


class StructlogListener:
    """Logs every event: `monitor.subscribe(StructlogListener())`.

    The event's name is the log line's event, its payload the key-value pairs, with
    `duration_ms` where there is a duration and `tags` where there are any.
    `error.occurred` is an error, what comes per message or periodically is debug,
    all else is info. The payload key `event` is logged as `during`, since structlog
    has its own.

    Args:
        logger: a structlog logger; None takes `structlog.get_logger("waterdrop_py")`,
            which follows the process's structlog configuration whenever that is made.
        log_messages: also log messages and delivery reports themselves, payloads
            included. Without it only a batch's size is logged. Statistics never are,
            only that they came.

    Thread-safe as far as the logger is. Does not configure structlog or logging.
    """

    def __init__(self, logger: Any = None, *, log_messages: bool = False) -> None:
        self._logger = (
            structlog.get_logger("waterdrop_py") if logger is None else logger
        )
        self._log_messages = log_messages

    def log(self, event: Event) -> None:
        """Log one event."""
        fields = self._fields(event)
        if event.name == "error.occurred":
            self._logger.error(event.name, **fields)
        elif event.name.startswith(_CHATTY):
            self._logger.debug(event.name, **fields)
        else:
            self._logger.info(event.name, **fields)

    def _fields(self, event: Event) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for key, value in event.payload.items():
            if key == "messages" and not self._log_messages:
                fields["messages"] = len(value) if hasattr(value, "__len__") else value
            elif key not in _OMITTED and (self._log_messages or key not in _MESSAGES):
                fields["during" if key == "event" else key] = value
        if event.duration_ms is not None:
            fields["duration_ms"] = round(event.duration_ms, 3)
        if event.tags:
            fields["tags"] = dict(event.tags)
        error = event.payload.get("error")
        if error is not None:
            fields["error"] = f"{type(error).__name__}: {error}"
            if str(event.payload.get("type")).startswith(_TRACED):
                fields["exc_info"] = error
        return fields


# One method for each event, so that subscribing the listener subscribes to them all,
# and a subclass may treat one of them in its own way.
for _name in EVENTS:
    setattr(StructlogListener, listener_method(_name), StructlogListener.log)
