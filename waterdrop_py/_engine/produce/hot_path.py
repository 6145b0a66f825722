"""Messages on their way into librdkafka's queue: what runs for each of them.

`produce_async` is the fast path of the verb; `send_one` and `send_run` are what all
other verbs end in. With `validation` this is the only place that fills a handle.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.borrow_marks import borrower
from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import HOME
from waterdrop_py._engine.connection.resending import Moved
from waterdrop_py._engine.produce.validation import KNOWN_TOPICS, plain_headers
from waterdrop_py._settings.foreign_names import refuse
from waterdrop_py._settings.keywords import BY_KEYWORD, ByKeyword
from waterdrop_py.delivery import ANYWHERE, DeliveryHandle, Place
from waterdrop_py.message import Message

if TYPE_CHECKING:
    from datetime import datetime

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py.message import HeadersInput, Key
    from waterdrop_py.middleware import Middleware

    class Verbs(Protocol):
        """What the fast path asks of the long one."""

        def joined(self) -> bool: ...
        def fail(self, error: BaseException) -> None: ...
        def produce_async(self, message: Message) -> DeliveryHandle: ...

    class Sends(Protocol):
        """What the fast path reads of a producer or a variant."""

        _connection: Connection
        _middleware: Middleware
        _plain: bool
        _verbs: Verbs


# What a client raises for a message that it did not take. Anything else that comes
# out of the call (a signal handler's exception) leaves that open: it may not be sent
# again, and its number is settled when the client has nothing left
# (`Client.counters_uncertain`).
REFUSED: Final = (BufferError, KafkaException)


@borrower
def produce_async(  # noqa: PLR0913, PLR0915 - the fields, and one piece
    self: Sends,
    topic: Any = BY_KEYWORD,
    payload: Any = BY_KEYWORD,
    _: ByKeyword = BY_KEYWORD,
    key: Key = None,
    partition: int | None = None,
    partition_key: Key = None,
    timestamp: int | datetime | None = None,
    headers: HeadersInput = None,
    label: Any = None,
    **wrong: Any,
) -> DeliveryHandle:
    """Run as `Sender.produce_async`, which says what it does.

    A message that is plainly legal, on a client that is open and busy, is produced
    here. Every other goes on to `Verbs.produce_async`. See `Connection` and `send_one`
    for what the steps protect.
    """
    if (
        _ is BY_KEYWORD
        and not wrong
        and type(payload) is bytes
        and type(topic) is str
        and topic in KNOWN_TOPICS
        and (key is None or (type(key) is bytes and key))
        and partition is None
        and partition_key is None
        and timestamp is None
        and (headers is None or (plain := plain_headers(headers)) is not None)
        and not self._middleware.steps
        and (self._plain or self._verbs.joined())
    ):
        connection = self._connection
        client = connection.client
        borrows = client.borrows
        handle = DeliveryHandle()
        handle._topic = topic
        handle._payload = payload
        handle._key = key
        handle._label = label
        try:
            borrows.append(None)
            if (
                connection.client is client
                and not client.quiet
                and HOME[0]
                and not connection.reports.sends_observed
            ):
                handle._client = client
                handle._seq = next(client.sent)
                if headers is None:
                    client.produce(topic, payload, key, -1, handle)  # type: ignore[misc]
                    return handle
                handle._headers = plain
                handle._place = None
                client.produce(  # type: ignore[misc]
                    topic, payload, key, -1, handle, handle, 0, plain
                )
                return handle
        except REFUSED:
            # The long way meets the same refusal, and has its policy.
            next(client.refused)
        except BaseException as error:
            client.counters_uncertain = True
            self._verbs.fail(error)
            raise_interruption(error)
            raise
        finally:
            borrows.pop()
    if _ is not BY_KEYWORD or wrong or topic is BY_KEYWORD or payload is BY_KEYWORD:
        given = (each for each in (self, topic, payload) if each is not BY_KEYWORD)
        extra = () if _ is BY_KEYWORD else (_,)
        refuse(produce_async, *given, *extra, **wrong)
    return self._verbs.produce_async(
        Message(
            topic, payload, key, partition, partition_key, timestamp, headers, label
        )
    )


@borrower
def send_one(  # noqa: PLR0915 - each step where no exception leaves a mark
    connection: Connection,
    handle: DeliveryHandle,
    client: Client,
    partition: int,
    *,
    serves: bool,
) -> bool:
    """Produce on `client` under a lease; False when it is not the slot's any more.

    The mark is set before the look at the slot; see `Connection`. Whoever ends
    the quiet arms the poller, also when the message is refused: the next sender
    finds no quiet, and relies on it (test_a_refusal_on_a_quiet_client_arms).
    """
    woken = sent = False
    place = handle._place
    try:
        # Within the `try`: CPython runs signal handlers after a call and not
        # before it, so whatever is raised here finds the mark set.
        client.borrows.append(None)
        if connection.client is not client:
            return False
        connection.reports.note_topic(handle._topic)
        if client.quiet:
            woken = True
            client.quiet = False
            client.last_activity = clock.now()
        handle._client = client
        handle._seq = next(client.sent)
        try:
            client.produce(  # type: ignore[misc]
                handle._topic,
                handle._payload,
                handle._key,
                partition,
                handle,
                handle,
                0 if place is None else place.timestamp or 0,
                handle._headers,
            )
        except REFUSED:
            next(client.refused)
            del handle._client  # it is in no client
            raise
        except BaseException as error:
            client.counters_uncertain = True
            raise_interruption(error)
            raise
        sent = True
        return True
    finally:
        try:
            client.borrows.pop()
        finally:
            if woken and not (serves and sent):
                _poll_soon(client)


def _poll_soon(client: Client) -> None:
    """Have it served, whatever a signal handler raises meanwhile; twice does no harm
    (test_a_handler_that_raises_as_the_poller_is_told)."""
    try:
        client.poll_soon(client)
    except BaseException:
        client.poll_soon(client)
        raise


@borrower
def send_run(  # noqa: PLR0915 - a hot loop, in one piece
    connection: Connection, handles: list[DeliveryHandle], start: int
) -> int:
    """Hand over handles from `start` on, under one lease, as far as nothing is in
    the way; the index of the first that was not. `send` has the policies."""
    client = connection.client
    count = start
    try:
        client.borrows.append(None)
        # `send` would try again what a foreign client has refused here.
        moved = connection.client is not client or not HOME[0]
        if moved or client.quiet or connection.reports.foreign:
            return count
        produce: Any = client.produce
        run = handles[start:] if start else handles
        handle: DeliveryHandle
        for handle, handle._seq in zip(run, client.sent):  # noqa: B905 - endless
            place, headers = handle._place, handle._headers
            if place is None and headers is None:
                handle._client = client
                produce(handle._topic, handle._payload, handle._key, -1, handle)
                count += 1
                continue
            partition, key, timestamp = place or ANYWHERE
            if partition is None:
                if key is not None:
                    next(client.refused)
                    break
                partition = -1
            handle._client = client
            produce(
                handle._topic,
                handle._payload,
                handle._key,
                partition,
                handle,
                handle,
                timestamp or 0,
                headers,
            )
            count += 1
    except REFUSED:
        next(client.refused)
        del handles[count]._client  # as in `_produce`
    except BaseException as error:
        client.counters_uncertain = True
        raise_interruption(error)
        raise
    finally:
        client.borrows.pop()
    return count


def set_moved(handle: DeliveryHandle) -> Place | None:
    """Note that the message is handed over for another partition, which happens once;
    its place, or None if it has none or was moved before."""
    place = handle._place
    if type(place) is not Place:
        return None
    handle._place = Moved(*place)
    return place


def set_deferred(handle: DeliveryHandle, waiting_room: Client) -> None:
    """Have the callers that wait for `handle` wait until it was sent; by this thread,
    as long as no other is said to send it."""
    handle._client = waiting_room
    handle._seq = -get_ident()


def is_numbered(handle: DeliveryHandle) -> bool:
    """Whether its sending has begun, so that it may be in librdkafka's queue."""
    return handle._seq >= 0


def payload_size(handle: DeliveryHandle) -> int:
    """Bytes of its payload."""
    return len(handle._payload or b"")
