"""The base of the listeners that log: which events, at which level, which fields."""

from __future__ import annotations

import logging
from typing import Any, Final

from waterdrop_py.events import EVENTS, Event, listener_method

PER_MESSAGE: Final = ("message.", "messages.")
_STATISTICS: Final = "statistics.emitted"
_REFUSED: Final = "producer.disconnect_refused"
# Errors that user code raised: the user needs the traceback to find them.
_TRACED: Final = ("subscriber.", "callbacks.", "poller.")
# Payload keys that hold the user's messages, or are too long for a line.
_OMITTED: Final = frozenset(
    {"message", "messages", "delivery_report", "statistics", "error", "stats"}
)


class EventLogger:
    """Logs events; a subclass says where, in `write`.

    Without `messages` it has no methods for events per message, so that sends keep
    their speed. Statistics are logged if they come, but not requested.
    """

    incidental: frozenset[str] = frozenset({_STATISTICS})

    def __init__(self, *, messages: bool) -> None:
        if messages:
            for name in EVENTS:
                method = listener_method(name)
                if not hasattr(self, method):
                    setattr(self, method, self.log)

    def log(self, event: Event) -> None:
        """Log one event."""
        error = event.payload.get("error")
        traced = str(event.payload.get("type")).startswith(_TRACED)
        self.write(level_of(event), event, error if traced else None)

    def write(self, level: int, event: Event, traced: BaseException | None) -> None:
        """Write one event, with the traceback of `traced`."""
        raise NotImplementedError


def level_of(event: Event) -> int:
    """Lifecycle is INFO, refusals WARNING, errors ERROR; messages are DEBUG."""
    if event.name == "error.occurred":
        return logging.ERROR
    if event.name == _REFUSED:
        return logging.WARNING
    if event.name == _STATISTICS or event.name.startswith(PER_MESSAGE):
        return logging.DEBUG
    return logging.INFO


def fields_of(event: Event) -> dict[str, Any]:
    """The fields of a log line: never a payload, and only the number of messages."""
    fields = {key: value for key, value in event.payload.items() if key not in _OMITTED}
    messages = event.payload.get("messages")
    if isinstance(messages, int):  # producer.disconnected counts them itself
        fields["messages"] = messages
    elif messages is not None:
        fields["messages"] = (
            len(messages) if hasattr(messages, "__len__") else type(messages).__name__
        )
    if event.duration_ms is not None:
        fields["duration_ms"] = round(event.duration_ms, 3)
    if event.tags:
        fields["tags"] = dict(event.tags)
    error = event.payload.get("error")
    if error is not None:
        fields["error"] = f"{type(error).__name__}: {error}"
    return fields


# One method for each event, so that a subclass may override one of them.
for _name in EVENTS:
    if not _name.startswith(PER_MESSAGE):
        setattr(EventLogger, listener_method(_name), EventLogger.log)
