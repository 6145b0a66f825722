"""Clients that are not a `confluent_kafka.Producer` itself: which are usable.

They are subclasses, tracing wrappers and doubles. `by_keyword.py` hands them messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from confluent_kafka import KafkaException, cimpl

from waterdrop_py._settings.redact import kind
from waterdrop_py.errors import ConfigurationInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.typing import KafkaClient

NATIVE: Final = cimpl.Producer
"""The class of `confluent_kafka.Producer`, whatever a tracer has put there."""

# Newer than the oldest confluent-kafka that is supported.
_CLUSTER_ID: Final[Callable[..., Any] | None] = getattr(NATIVE, "cluster_id", None)

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
    """`client`, or a `Proxy` for it and the producer that it wraps.

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

    OpenTelemetry's `instrument_producer` makes these. Its objects forward `produce`,
    `poll`, `flush` and `purge`. Inherited methods would act on a client that was never
    opened, where `len()` is 0 and `close()` closes nothing. So those come from the
    wrapped producer. As thread-safe as the two are.
    """

    __slots__ = ("__weakref__", "_inner", "_outer")

    def __init__(self, outer: object, inner: KafkaClient) -> None:
        self._outer = outer
        self._inner = inner

    def native(self) -> Any:
        """The open `confluent_kafka.Producer` that it wraps, or None."""
        return native_of(self._inner)

    def identities(self) -> tuple[int, ...]:
        """The `id` of each producer of which it consists."""
        return (id(self._outer), *identities_of(self._inner))

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
    """The open `confluent_kafka.Producer` that `client` is or wraps, or None."""
    if isinstance(client, Proxy):
        return client.native()
    return client if issubclass(type(client), NATIVE) else None


def has_answered(client: object) -> bool:
    """Whether a broker has ever answered `client`, as librdkafka remembers.

    Call it with the poll lock held, outside of callbacks: confluent-kafka aborts the
    process for a native call inside a callback. librdkafka returns the cluster id that
    it knows, or raises, within 10 us. It sends nothing.
    """
    native = native_of(client)  # the method of a wrapper may trace
    if native is None or _CLUSTER_ID is None:
        return False
    try:
        return bool(_CLUSTER_ID(native, 0.0))
    except (KafkaException, RuntimeError):
        return False


def identities_of(client: object) -> tuple[int, ...]:
    """The `id` of `client`, and of each producer that it wraps."""
    if isinstance(client, Proxy):
        return client.identities()
    inner = getattr(client, "__wrapped__", None)
    return (id(client),) if inner is None else (id(client), id(inner))


def _is_dead(client: object) -> bool:
    """Whether this is a confluent-kafka producer without a librdkafka client.

    On an open one, a purge of nothing returns at once and serves no callbacks.
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
