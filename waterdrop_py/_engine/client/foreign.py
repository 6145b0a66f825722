"""Clients that are not a `confluent_kafka.Producer` itself.

Subclasses, tracing wrappers and doubles. Tracers and serializing clients look for
keywords, and change the headers that they are given. So such a client gets topic by
position, everything else by keyword, and headers of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from confluent_kafka import cimpl

from waterdrop_py._settings.redact import kind
from waterdrop_py.errors import ConfigurationInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py.typing import Headers, KafkaClient

NATIVE: Final = cimpl.Producer
"""The class behind `confluent_kafka.Producer`, whatever a tracer puts there."""

_PROTOCOL: Final = ("produce", "poll", "close", "flush", "purge", "list_topics")
_TRANSACTIONS: Final = (
    "init_transactions",
    "begin_transaction",
    "commit_transaction",
    "abort_transaction",
    "send_offsets_to_transaction",
)
_WHAT_WORKS: Final = (
    "a subclass of confluent_kafka.Producer that calls its __init__ works, and so does "
    "replacing confluent_kafka.Producer, at any time, without a client_factory"
)


def is_foreign(client: object) -> bool:
    """Whether `client` is anything but a `confluent_kafka.Producer` itself."""
    return type(client) is not NATIVE


def whole(client: object, *, transactional: bool) -> KafkaClient:
    """`client`, or what stands for it together with the producer that it wraps.

    Opens nothing, sends nothing, never blocks.

    Raises:
        ConfigurationInvalidError: part of the protocol is missing, or the client is
            closed.
    """
    if not _is_dead(client):
        missing = _missing(client, transactional=transactional)
        if missing:
            raise _refused(
                "must make an object with the protocol of typing.KafkaClient, got "
                f"{kind(client)}, which has no {', '.join(missing)}"
            )
        return cast("KafkaClient", client)
    found = {
        id(each): each
        for each in getattr(client, "__dict__", {}).values()
        if not _missing(each, transactional=transactional)
    }
    if len(found) == 1:
        [inner] = found.values()
        return cast("KafkaClient", Proxy(client, whole(inner, transactional=False)))
    if not is_foreign(client):
        raise _refused("must make a new Producer, got one that is closed")
    raise _refused(
        f"must make an open client, got {kind(client)}, which is a "
        "confluent_kafka.Producer that was never opened or is closed, and wraps "
        f"{len(found)} others instead of one; "
        f"{_WHAT_WORKS}"
    )


class Proxy:
    """A subclass that was never opened itself, with the producer that it wraps.

    OpenTelemetry's `instrument_producer` makes such: it passes on `produce`, `poll`,
    `flush` and `purge`. Inherited methods would act on no client at all: `len()` is 0
    and `close()` closes nothing. So they come from the wrapped producer. As thread-safe
    as the two are.
    """

    __slots__ = ("__weakref__", "_inner", "_outer")

    def __init__(self, outer: object, inner: KafkaClient) -> None:
        self._outer = outer
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner(name), name)

    def __len__(self) -> int:
        return len(cast("KafkaClient", self._owner("__len__")))

    def __repr__(self) -> str:
        return f"<{type(self._outer).__name__} of {type(self._inner).__name__}>"

    def _owner(self, name: str) -> object:
        outer = self._outer
        inherited = getattr(type(outer), name, None) is getattr(NATIVE, name, None)
        own = name in vars(outer) or not inherited
        return outer if own else self._inner


def native_of(client: object) -> Any:
    """The open `confluent_kafka.Producer` that `client` is or wraps; None: neither."""
    if isinstance(client, Proxy):
        return native_of(client._inner)
    return client if issubclass(type(client), NATIVE) else None


def identities_of(client: object) -> tuple[int, ...]:
    """The `id` of `client`, and of each producer that it wraps."""
    if isinstance(client, Proxy):
        return (id(client._outer), *identities_of(client._inner))
    inner = getattr(client, "__wrapped__", None)
    return (id(client),) if inner is None else (id(client), id(inner))


def by_keyword(client: Client, limit: int) -> Callable[..., None]:
    """What the engine calls with positions, for a client that gets keywords.

    `limit` is the number of messages that the client's queue holds, 0 without one. A
    tracer would record each try on a full queue as an operation that failed. So a
    message is refused here where the queue has its messages, or where the same message
    was refused before and nothing has left the client since.

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
        # Without a local variable of the client: see `Client.native`.
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
            # The size as of now: what left meanwhile may have made room.
            full[0] = _Full(value, before, len(client.opened_native()))
            raise
        finally:
            client.note_reports(before)  # the client may poll inside `produce`

    return produce


class _Full(NamedTuple):
    """How a client was as it refused a message for a full queue."""

    value: bytes | None
    outcomes: int
    size: int

    def holds_for(self, value: bytes | None, outcomes: int, size: int) -> bool:
        """Whether it is the same message, and nothing has left the client.

        Not of one that is empty: it has a limit of its own, and no report lifts it.
        """
        same = value is self.value and outcomes == self.outcomes
        return same and size >= max(1, self.size)


def _given(
    key: bytes | None, partition: int, timestamp: int, headers: Headers | None
) -> dict[str, Any]:
    """The keywords of what a message has beside its value."""
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
    """Headers of which some have the same name: pairs, in order.

    ddtrace sets a header as in a dict, `headers[name] = value`, and a plain list raises
    there. Here that replaces the pairs of this name.
    """

    __slots__ = ()

    def __setitem__(self, where: Any, value: Any) -> None:
        if isinstance(where, str):
            self[:] = [pair for pair in self if pair[0] != where]
            self.append((where, value))
        else:
            super().__setitem__(where, value)


def _own_headers(headers: Headers) -> dict[str, Any] | list[tuple[str, Any]]:
    """Headers that the client may change: the handle keeps its own for a retry."""
    unique = dict(headers)
    return unique if len(unique) == len(headers) else RepeatedHeaders(headers)


def _is_dead(client: object) -> bool:
    """Whether this is a confluent-kafka producer without a librdkafka client.

    A purge of nothing returns at once on an open one, and serves no callback.
    """
    if not issubclass(type(client), NATIVE):
        return False
    try:
        NATIVE.purge(cast("Any", client), in_queue=False, in_flight=False)
    except RuntimeError:
        return True
    return False


def _missing(client: object, *, transactional: bool) -> list[str]:
    """The part of the protocol that `client` lacks."""
    names = _PROTOCOL + (_TRANSACTIONS if transactional else ())
    missing = [name for name in names if not callable(getattr(client, name, None))]
    if not hasattr(type(client), "__len__"):
        missing.append("__len__")
    return missing


def _refused(sentence: str) -> ConfigurationInvalidError:
    return ConfigurationInvalidError({"client_factory": sentence})
