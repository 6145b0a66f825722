"""The hot path: the code that runs for each message until librdkafka has queued it.

`produce_async` is the fast path of that verb. All other verbs end in `send_one` or
`send_run`. Beside `validation`, this is the only place that fills a handle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.borrow_marks import borrower
from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py._engine.client.pending import ANYWHERE
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import HOME
from waterdrop_py._engine.produce.validation import KNOWN_TOPICS, plain_headers
from waterdrop_py._settings.answering import ABSENT, refuse_send
from waterdrop_py.delivery import DeliveryHandle
from waterdrop_py.message import Message

if TYPE_CHECKING:
    from datetime import datetime

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py.message import HeadersInput, Key
    from waterdrop_py.middleware import Middleware

    class Verbs(Protocol):
        """What the fast path needs of `verbs.Verbs`."""

        def inside_open_transaction(self) -> bool: ...
        def fail_transaction(self, error: BaseException) -> None: ...
        def produce_async(self, message: Message) -> DeliveryHandle: ...

    class SenderFields(Protocol):
        """What the fast path reads of a `Sender`."""

        _connection: Connection
        _middleware: Middleware
        _plain: bool
        _verbs: Verbs


REFUSED: Final = (BufferError, KafkaException)
"""What a client raises for a message that it did not queue.

Any other exception, such as one of a signal handler, leaves that open. The message may
not be sent again then, and the client counts anew once its queue is empty
(`Client.counters_uncertain`).
"""


@borrower
def produce_async(  # noqa: PLR0913, PLR0915 - the fields, and one piece
    self: SenderFields,
    topic: Any = ABSENT,
    payload: Any = ABSENT,
    *extra: object,
    key: Key = None,
    partition: int | None = None,
    partition_key: Key = None,
    timestamp: int | datetime | None = None,
    headers: HeadersInput = None,
    label: Any = None,
    **wrong: object,
) -> DeliveryHandle:
    """Run as `Sender.produce_async`, which documents it.

    A message that is plainly legal, on a client that is open and busy, is produced
    here. All others go on to `Verbs.produce_async`. The docstrings of `Connection` and
    `send_one` say what the steps protect.

    `extra` and `wrong` are arguments that do not fit. They are collected because
    Python's own `TypeError` would not name ours.
    """
    if (
        not extra
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
        and (self._plain or self._verbs.inside_open_transaction())
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
            # The long path tries again, and handles the refusal.
            next(client.refused)
        except BaseException as error:
            client.counters_uncertain = True
            self._verbs.fail_transaction(error)
            raise_interruption(error)
            raise
        finally:
            borrows.pop()
    if extra or wrong or topic is ABSENT or payload is ABSENT:
        refuse_send(produce_async, self, topic, payload, *extra, **wrong)
    return self._verbs.produce_async(
        Message(
            topic, payload, key, partition, partition_key, timestamp, headers, label
        )
    )


@borrower
def send_one(  # noqa: PLR0915 - no step may move across a `try`
    connection: Connection,
    handle: DeliveryHandle,
    client: Client,
    partition: int,
    *,
    serves: bool,
    deferred: Any = None,
) -> bool:
    """Queue one message on `client`. False: the connection has another client by now.

    1. The sender marks the client as borrowed, and only then looks at
       `connection.client`; see `Connection`.
    2. The sender that finds the client quiet ends that, and wakes the poller, also if
       its message is refused.
    3. The next sender finds the client busy, and relies on the poller
       (test_a_refusal_on_a_quiet_client_arms).

    `serves`: the caller serves the report, so that no poller is needed.

    `deferred`: what the handle holds while no client has the message. Other threads may
    wait for the handle meanwhile.
    """
    woken = sent = False
    place = handle._place
    try:
        # Inside the `try`: CPython runs signal handlers after a call and not before it,
        # so the mark is set when one of them raises.
        client.borrows.append(None)
        if connection.client is not client:
            return False
        connection.reports.note_topic(handle._topic)
        if client.quiet:
            woken = True
            client.quiet = False
            client.use(clock.now())
        handle._client = client
        try:
            handle._seq = next(client.sent)
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
            if deferred is None:
                del handle._client  # no client has it
            else:
                handle._client = deferred
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
    """Have the poller serve the client, also if a signal handler interrupts this.

    Asking twice does no harm (test_a_handler_that_raises_as_the_poller_is_told).
    """
    try:
        client.poll_soon(client)
    except BaseException:
        client.poll_soon(client)
        raise


@borrower
def send_run(  # noqa: PLR0915 - a hot loop, in one piece
    connection: Connection, handles: list[DeliveryHandle], start: int
) -> int:
    """Queue handles from `start` on, until one needs more than this loop can do.

    Returns the index of that one. `Dispatch.send` does the rest: it opens clients,
    looks partitions up, and waits for room.
    """
    client = connection.client
    count = start
    try:
        client.borrows.append(None)
        # A message that a foreign client refuses must not be tried twice.
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
        del handles[count]._client  # no client has it
    except BaseException as error:
        client.counters_uncertain = True
        raise_interruption(error)
        raise
    finally:
        client.borrows.pop()
    return count
