"""Every event of the library, and the payload that each one carries.

Every payload also has `producer_id`. A key that ends in `_ms` is in milliseconds. A
timed event has a duration as well: `event.duration_ms`, also `event["time"]`. Keys
are there as far as they are known when the event is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from waterdrop_py.errors import EventNotRegisteredError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What an event means, which keys its payload has, and whether it is timed."""

    summary: str
    payload: tuple[str, ...] = ()
    timed: bool = False


EVENTS: Final[Mapping[str, EventSpec]] = MappingProxyType(
    {
        "producer.created": EventSpec("A producer was constructed; nothing is open."),
        "producer.configured": EventSpec("Its configuration was found valid."),
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
    if name not in EVENTS:
        raise EventNotRegisteredError(
            f"no event is named {name!r}{did_you_mean(name, EVENTS)}"
        )


def did_you_mean(name: object, known: Mapping[str, object]) -> str:
    """A question that names the nearest known name, or nothing."""
    from difflib import get_close_matches

    nearest = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
