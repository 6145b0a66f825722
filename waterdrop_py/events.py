"""Every event of the library, and the payload that each one carries.

Every payload also has `producer_id`. A key that ends in `_ms` is in milliseconds. A
timed event has a duration as well: `event.duration_ms`, also `event["time"]`. Keys
are there as far as they are known when the event is sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import EventNotRegisteredError


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What an event means, which keys its payload has, and whether it is timed."""

    summary: str
    payload: tuple[str, ...] = ()
    timed: bool = False


EVENTS: Final[Mapping[str, EventSpec]] = MappingProxyType(
    {
        "producer.created": EventSpec(
            "A producer was constructed; nothing is open.", ("producer",)
        ),
        "producer.configured": EventSpec(
            "Its configuration was found valid.", ("producer", "config")
        ),
        "producer.connecting": EventSpec("A client is about to be opened."),
        "producer.connected": EventSpec(
            "A client was opened; `reopened` when it is not the producer's first.",
            ("reopened",),
            timed=True,
        ),
        "producer.disconnecting": EventSpec(
            "A client is about to be closed; `reason` as in producer.disconnected.",
            ("reason",),
        ),
        "producer.disconnected": EventSpec(
            "A client was closed, once for each producer.connected. `messages` were "
            "sent on it; `released` counts sockets, threads and fds, or is None.",
            ("reason", "idle_ms", "connected_ms", "messages", "released"),
            timed=True,
        ),
        "producer.disconnect_refused": EventSpec(
            "The idle deadline passed and closing is not safe; once per `reason`, "
            "which is a code of IdleReport.",
            ("reason", "count", "age_ms", "owner"),
        ),
        "producer.closing": EventSpec("close() has begun; no new message is taken."),
        "producer.closed": EventSpec("close() has ended.", timed=True),
        "message.produced_async": EventSpec(
            "A message was handed to librdkafka; its report is still to come.",
            ("topic", "partition", "label", "message"),
        ),
        "message.produced_sync": EventSpec(
            "A message was handed over and its report has come.",
            ("topic", "partition", "offset", "label", "message", "delivery_report"),
            timed=True,
        ),
        "message.acknowledged": EventSpec(
            "A broker acknowledged a message; its handle resolves afterwards.",
            ("topic", "partition", "offset", "label", "message", "delivery_report"),
        ),
        "messages.produced_async": EventSpec(
            "A batch was handed to librdkafka; its reports are still to come.",
            ("messages",),
        ),
        "messages.produced_sync": EventSpec(
            "A batch was handed over and all its reports have come.",
            ("messages",),
            timed=True,
        ),
        "producer.reload": EventSpec(
            "A fatal error: the client is about to be replaced. What a subscriber "
            "leaves in `kafka` is what the new client gets.",
            ("attempt", "error", "kafka"),
        ),
        "producer.reloaded": EventSpec(
            "The client with the fatal error is gone; the next use opens a new one.",
            ("attempt",),
            timed=True,
        ),
        "message.buffered": EventSpec(
            "A message went into the buffer.",
            ("topic", "partition", "label", "message"),
        ),
        "messages.buffered": EventSpec("Messages went into the buffer.", ("messages",)),
        "message.purged": EventSpec(
            "A transaction that was aborted gave a message up.",
            ("topic", "partition", "offset", "label", "message", "delivery_report"),
        ),
        "buffer.flushed_async": EventSpec(
            "The buffer was handed to librdkafka.", ("messages",), timed=True
        ),
        "buffer.flushed_sync": EventSpec(
            "The buffer was handed over, and all its reports have come.",
            ("messages",),
            timed=True,
        ),
        "buffer.purged": EventSpec(
            "purge() gave up the buffer and librdkafka's queue.", (), timed=True
        ),
        "transaction.started": EventSpec("A transaction has begun."),
        "transaction.committed": EventSpec("A transaction was committed.", timed=True),
        "transaction.aborted": EventSpec("A transaction was aborted.", timed=True),
        "transaction.marked_as_consumed": EventSpec(
            "Positions of consumed messages are committed with the transaction.",
            ("messages", "metadata"),
        ),
        "transaction.finished": EventSpec(
            "A transaction has ended as its block meant it to.", timed=True
        ),
        "statistics.emitted": EventSpec(
            "librdkafka's statistics, decoded from its JSON.", ("statistics",)
        ),
        "oauthbearer.token_refresh": EventSpec("librdkafka asks for a new token."),
        "error.occurred": EventSpec(
            "Something failed; `type` is one of ERROR_TYPES, `error` the exception. "
            "More keys by type, such as `message` or `messages`.",
            ("type", "error"),
        ),
    }
)

ERROR_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "message.produce_sync": "A sync call did not deliver its message.",
        "message.produce_async": "A message could not be handed over.",
        "messages.produce_many_sync": "A sync batch was not delivered whole.",
        "messages.produce_many_async": "A batch could not be handed over whole.",
        "transaction.begin": "A transaction could not be begun.",
        "transaction.commit": "A transaction could not be committed.",
        "transaction.abort": "A transaction could not be aborted.",
        "transaction.store_offset": "An offset could not join its transaction.",
        "librdkafka.idempotent_fatal_error": "The client is lost, and is replaced.",
        "librdkafka.error": "librdkafka reported an error of the client.",
        "librdkafka.dispatch_error": "The report of a message says it failed.",
        "producer.disconnect.error": "Closing a client raised.",
        "producer.disconnect.incomplete": "A closed client left something behind.",
        "producer.close.abandoned": "A native close hung and was abandoned.",
        "callbacks.<name>.error": "librdkafka callback <name> of the user raised.",
        "poller.error": "Serving a client's reports raised.",
        "poller.slow": "A callback of the user delays other producers' reports.",
        "subscriber.error": "A subscriber raised; `event` and `subscriber` name them.",
    }
)


def listener_method(name: str) -> str:
    """The method by which a listener object hears an event: `on_producer_closed`."""
    return f"on_{name.replace('.', '_')}"


def require_event(name: str) -> None:
    """Raise `EventNotRegisteredError`, with the nearest name, for an unknown one."""
    if not isinstance(name, str) or name not in EVENTS:
        raise EventNotRegisteredError(
            f"no event is named {shown(name)}{did_you_mean(name, EVENTS)}"
        )


def matching(pattern: str) -> list[str]:
    """The events that a name stands for: itself, or all that a pattern with `*` takes.

    Raises:
        EventNotRegisteredError: there is none.
    """
    if not isinstance(pattern, str) or "*" not in pattern:
        require_event(pattern)
        return [pattern]
    taken = re.compile(".*".join(map(re.escape, pattern.split("*"))))
    found = [name for name in EVENTS if taken.fullmatch(name)]
    if not found:
        groups = {f"{name.partition('.')[0]}.*": None for name in EVENTS}
        raise EventNotRegisteredError(
            f"no event matches {shown(pattern)}"
            f"{did_you_mean(pattern, {**groups, **EVENTS})}"
        )
    return found


def did_you_mean(name: object, known: Collection[str]) -> str:
    """A question that names the nearest known name, or nothing."""
    if not isinstance(name, str):
        return ""
    from difflib import get_close_matches

    nearest = get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
