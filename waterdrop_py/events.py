"""Declares every event and its payload (a new event is a row in EVENTS), and `Event`.

Every payload also has `producer_id`; that of an event of a pool has `pool`, its name,
instead. A key that ends in `_ms` is in milliseconds. A timed event has a duration too:
`event.duration_ms`, also `event["time"]`. A key is missing if its value is not known
when the event is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from inspect import getattr_static, isfunction
from types import MappingProxyType
from typing import Any, Final

from waterdrop_py._settings.callables import subscriber_of
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import EventNotRegisteredError, InvalidArgumentError


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
            "The producer's configuration was found valid.", ("producer", "config")
        ),
        "producer.connecting": EventSpec("A client is about to be opened."),
        "producer.connected": EventSpec(
            "A client was opened; `reopened` is whether the producer had one before.",
            ("reopened",),
            timed=True,
        ),
        "producer.disconnecting": EventSpec(
            "A client is about to be closed; `reason` as in producer.disconnected.",
            ("reason",),
        ),
        "producer.disconnected": EventSpec(
            "A client was closed; once for each producer.connected. `messages` is how "
            "many were sent on it; `released` counts sockets, threads and fds, or is "
            "None. `reopen_ms` is from the use that re-opened it to its first "
            "delivery, or None.",
            ("reason", "idle_ms", "connected_ms", "messages", "released", "reopen_ms"),
            timed=True,
        ),
        "producer.disconnect_refused": EventSpec(
            "The idle deadline has passed, but closing is not safe; once for each "
            "`reason`, which is a code of IdleReport.",
            ("reason", "count", "age_ms", "owner"),
        ),
        "producer.closing": EventSpec("close() has begun; no new message is taken."),
        "producer.closed": EventSpec(
            "close() has ended; `stats` are the final figures.", ("stats",), timed=True
        ),
        "message.produced_async": EventSpec(
            "A message was handed to librdkafka; its report has not come yet.",
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
            "A batch was handed to librdkafka; its reports have not come yet.",
            ("messages",),
        ),
        "messages.produced_sync": EventSpec(
            "A batch was handed over and all its reports have come.",
            ("messages",),
            timed=True,
        ),
        "producer.reload": EventSpec(
            "A client with a fatal error is about to be replaced. Subscribers may "
            "change `kafka`, the properties of the new client.",
            ("attempt", "error", "kafka"),
        ),
        "producer.reloaded": EventSpec(
            "The client with the fatal error is closed; the next use opens a new one.",
            ("attempt",),
            timed=True,
        ),
        "message.buffered": EventSpec(
            "A message went into the buffer.",
            ("topic", "partition", "label", "message"),
        ),
        "messages.buffered": EventSpec("Messages went into the buffer.", ("messages",)),
        "message.purged": EventSpec(
            "A message was given up because its transaction was aborted.",
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
            "purge() emptied the buffer and librdkafka's queue.", (), timed=True
        ),
        "transaction.started": EventSpec("A transaction has begun."),
        "transaction.committed": EventSpec("A transaction was committed.", timed=True),
        "transaction.aborted": EventSpec("A transaction was aborted.", timed=True),
        "transaction.marked_as_consumed": EventSpec(
            "Positions of consumed messages will be committed with the transaction.",
            ("messages", "metadata"),
        ),
        "transaction.finished": EventSpec(
            "A transaction ended as its block asked: by commit or abort.", timed=True
        ),
        "pool.created": EventSpec(
            "A pool was constructed; nothing is open.",
            ("size", "client_limit", "min_connected"),
        ),
        "pool.acquired": EventSpec(
            "A lease was granted; the duration is how long its caller waited.",
            ("slot", "producer_id"),
            timed=True,
        ),
        "pool.released": EventSpec(
            "A lease has ended; the duration is how long it was held.",
            ("slot", "producer_id"),
            timed=True,
        ),
        "pool.exhausted": EventSpec("A call got no lease.", ("error",)),
        "pool.leaked": EventSpec(
            "A lease was collected unreleased, and the producer is free again.",
            ("slot", "producer_id", "owner", "where"),
        ),
        "pool.replaced": EventSpec(
            "A producer with a fatal error gets no new lease; its slot has a new one.",
            ("slot", "producer_id", "error"),
        ),
        "pool.resized": EventSpec("The size was changed.", ("size", "before")),
        "pool.reload": EventSpec("reload() has begun."),
        "pool.reloaded": EventSpec(
            "New leases get new producers. `opened` counts them, `draining` the old "
            "ones that are not closed yet.",
            ("opened", "draining"),
            timed=True,
        ),
        "pool.closing": EventSpec("close() of the pool has begun."),
        "pool.closed": EventSpec("close() of the pool has ended.", timed=True),
        "statistics.emitted": EventSpec(
            "librdkafka emitted statistics, decoded from JSON.", ("statistics",)
        ),
        "oauthbearer.token_refresh": EventSpec("librdkafka asks for a new token."),
        "error.occurred": EventSpec(
            "Something failed; `type` is one of ERROR_TYPES, `error` the exception. "
            "Some types have more keys, such as `message` or `messages`.",
            ("type", "error"),
        ),
    }
)

ERROR_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "message.produce_sync": "A sync call did not deliver its message.",
        "message.produce_async": "A message could not be handed over.",
        "messages.produce_many_sync": "A sync call did not deliver all its messages.",
        "messages.produce_many_async": "Not all of a batch could be handed over.",
        "transaction.begin": "A transaction could not be begun.",
        "transaction.commit": "A transaction could not be committed.",
        "transaction.abort": "A transaction could not be aborted.",
        "transaction.store_offset": "An offset could not join its transaction.",
        "librdkafka.idempotent_fatal_error": "A fatal error; the client is replaced.",
        "librdkafka.error": "librdkafka reported an error of the client.",
        "librdkafka.dispatch_error": "A delivery report says that a message failed.",
        "producer.disconnect.error": "Closing a client raised.",
        "producer.disconnect.incomplete": "A closed client left something behind.",
        "producer.close.abandoned": "A native close hung and was abandoned.",
        "callbacks.<name>.error": "The user's librdkafka callback <name> raised.",
        "pool.open": "A slot of a pool could not be opened in the background.",
        "poller.error": "Polling a client raised.",
        "poller.slow": "A callback of the user delays reports of other producers.",
        "subscriber.error": "A subscriber raised; `event` and `subscriber` name them.",
    }
)


def listener_method(name: str) -> str:
    """The name of a listener's method for an event, such as `on_producer_closed`."""
    return f"on_{name.replace('.', '_')}"


_METHODS: Final = {listener_method(name): name for name in EVENTS}


def require_event(name: str) -> None:
    """Raise `EventNotRegisteredError`, with the nearest name, if `name` is unknown."""
    if not isinstance(name, str) or name not in EVENTS:
        raise EventNotRegisteredError(
            f"no event is named {shown(name)}{did_you_mean(name, EVENTS)}"
        )


def matching(pattern: str) -> list[str]:
    """The events that a name or a pattern with `*` matches.

    Raises:
        EventNotRegisteredError: no event matches.
    """
    if not isinstance(pattern, str) or "*" not in pattern:
        require_event(pattern)
        return [pattern]
    regex = re.compile(".*".join(map(re.escape, pattern.split("*"))))
    found = [name for name in EVENTS if regex.fullmatch(name)]
    if not found:
        groups = {f"{name.partition('.')[0]}.*": None for name in EVENTS}
        raise EventNotRegisteredError(
            f"no event matches {shown(pattern)}"
            f"{did_you_mean(pattern, {**groups, **EVENTS})}"
        )
    return found


def methods_of(listener: object) -> list[tuple[str, Callable[[Any], object]]]:
    """The events for which a listener object has a method, and the methods.

    Raises:
        EventNotRegisteredError: a method `on_...` is not named after an event.
        InvalidArgumentError: there is no such method, or one cannot be called.
    """
    found = []
    for method in dir(listener):
        if not method.startswith("on_"):
            continue
        name = _METHODS.get(method)
        if name is not None and _is_unbound(listener, method):
            raise InvalidArgumentError(
                f"{listener!r} is a class, whose {method} lacks its self; subscribe an "
                "instance of it"
            )
        if name is not None:
            found.append((name, subscriber_of(getattr(listener, method), name)))
        elif callable(getattr(listener, method)):
            raise EventNotRegisteredError(
                f"{type(listener).__qualname__}.{method} is not named after an event"
                f"{did_you_mean(method, _METHODS)}"
            )
    if not found:
        raise InvalidArgumentError(
            f"{shown(listener)} has no method named after an event, such as "
            "on_producer_connected; to subscribe a function: subscribe(name, fn)"
        )
    return found


def _is_unbound(listener: object, method: str) -> bool:
    """Whether the listener is a class, so that its method would lack `self`."""
    if not isinstance(listener, type):
        return False
    return isfunction(getattr_static(listener, method))


def did_you_mean(name: object, known: Collection[str]) -> str:
    """A hint with the nearest known name, or an empty text."""
    if not isinstance(name, str):
        return ""
    from difflib import get_close_matches

    nearest = get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


class Event(Mapping[str, Any]):
    """One event: a read-only mapping of its payload.

    Attributes:
        name: one of `events.EVENTS`.
        payload: the keys that `events.EVENTS` names, and `producer_id`.
        tags: the producer's tags.
        duration_ms: milliseconds that it took, or None if the event is not timed. Also
            `event["time"]`, which raises `KeyError` if it is None.
        given_id: the producer's id, or the name of its pool, if the user gave it one.
            Metrics have no other name of a producer.
        client: stands for the librdkafka client that statistics come from, and that
            `producer.disconnected` has closed.
    """

    __slots__ = ("client", "duration_ms", "given_id", "name", "payload", "tags")

    def __init__(
        self,
        name: str,
        payload: dict[str, Any],
        tags: Mapping[str, str],
        duration_ms: float | None = None,
        given_id: str | None = None,
        client: object | None = None,
    ) -> None:
        self.name: str = name
        self.payload: dict[str, Any] = payload
        self.tags: Mapping[str, str] = tags
        self.duration_ms: float | None = duration_ms
        self.given_id: str | None = given_id
        self.client: object | None = client

    def __getitem__(self, key: str) -> Any:
        if key == "time" and self.duration_ms is not None:
            return self.duration_ms
        return self.payload[key]

    def __iter__(self) -> Iterator[str]:
        yield from self.payload
        if self.duration_ms is not None:
            yield "time"

    def __len__(self) -> int:
        return len(self.payload) + (self.duration_ms is not None)

    # Events with equal payloads are still different events. The repr shows only the
    # keys, because the values hold the user's messages.
    def __eq__(self, other: object) -> bool:
        return True if self is other else NotImplemented

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Event {self.name}: {', '.join(self)}>"
