"""How a client that is not a `confluent_kafka.Producer` itself is handed messages.

Tracers and serializing clients look for keywords, and change the headers that they are
given. So such a client gets topic by position, everything else by keyword, and headers
of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py.typing import Headers


def by_keyword(client: Client, limit: int) -> Callable[..., None]:
    """A function that takes positions, for a client that gets keywords.

    `limit`: how many messages the client's queue holds; 0 means no limit. A tracer
    would record each try on a full queue as a failed operation. So the function itself
    raises `BufferError` when the queue is full, and when the same message was refused
    and nothing has left the client since.

    What the client raises comes out. A `BufferError` and a `KafkaException`, such as a
    `SerializationError`, refuse the message; anything else may be a signal handler's.
    """

    full: list[_Full | None] = [None]

    def produce(  # noqa: PLR0913 - the engine's positions
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Callable[[Any, Any], None] | None = None,
        _callback: object = None,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        # Without a local variable for the client: see `Client.opened_native`.
        before = client.acknowledged + client.failed
        size, then = len(client.opened_native()), full[0]
        if size >= limit > 0 and client.in_flight() - len(client.borrows) >= limit:
            raise BufferError("Local: Queue full")
        if then is not None:
            if then.holds_for(value, before, size):
                raise BufferError("Local: Queue full")
            full[0] = None
        given = _given(key, partition, timestamp, headers)
        try:
            client.opened_native().produce(
                topic, value=value, on_delivery=on_delivery, **given
            )
        except BufferError:
            # The size as of now: reports meanwhile may have made room.
            full[0] = _Full(value, before, len(client.opened_native()))
            raise
        finally:
            client.note_reports(before)  # the client may poll inside `produce`

    return produce


class _Full(NamedTuple):
    """The state of a client that refused a message because its queue was full."""

    value: bytes | None
    outcomes: int
    size: int

    def holds_for(self, value: bytes | None, outcomes: int, size: int) -> bool:
        """Whether it is the same message, and nothing has left the client.

        False for an empty client: it refuses by a limit that reports do not lift.
        """
        same = value is self.value and outcomes == self.outcomes
        return same and size >= max(1, self.size)


def _given(
    key: bytes | None, partition: int, timestamp: int, headers: Headers | None
) -> dict[str, Any]:
    """The keywords for what a message has in addition to its value."""
    given: dict[str, Any] = {}
    if key is not None:
        given["key"] = key
    if partition >= 0:
        given["partition"] = partition
    if timestamp:
        given["timestamp"] = timestamp
    if headers:
        given["headers"] = _own_headers(headers)
    return given


class RepeatedHeaders(list[tuple[str, Any]]):
    """Headers with repeated names: a list of pairs, in order.

    ddtrace sets a header as in a dict, `headers[name] = value`, which a plain list
    refuses. Here that replaces the pairs with this name.
    """

    __slots__ = ()

    def __setitem__(self, where: Any, value: Any) -> None:
        if isinstance(where, str):
            self[:] = [pair for pair in self if pair[0] != where]
            self.append((where, value))
        else:
            super().__setitem__(where, value)


def _own_headers(headers: Headers) -> dict[str, Any] | list[tuple[str, Any]]:
    """Headers that the client may change; the handle keeps its own for a retry."""
    unique = dict(headers)
    return unique if len(unique) == len(headers) else RepeatedHeaders(headers)
