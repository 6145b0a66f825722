"""Runs every verb under a tracer; prints how many messages, spans and contexts it made.

Arguments: the brokers; the tracer (`otel`, `otel-proxied`, `ddtrace`,
`ddtrace-streams`, `ddtrace-serializing`); and whether it is installed `before` the
import of the library, or `after` a producer was made.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.integrations.programs.tracers import TRACERS

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS, TRACER, WHEN = sys.argv[1:]
tracer = TRACERS[TRACER]()
if WHEN == "before":
    tracer.install()

from tests.scenarios.kit import eventually, make_producer, say, sockets  # noqa: E402
from waterdrop_py import Message, Producer  # noqa: E402
from waterdrop_py.testing import record  # noqa: E402
from waterdrop_py.testing.reading import read_topic  # noqa: E402

HEADERS = {"own": b"1"}
TWICE = [("own", b"1"), ("own", b"2")]


def batch(topic: str, count: int = 3) -> list[Message]:
    """Messages with and without headers."""
    return [
        Message(topic, b"x", headers=HEADERS if i % 2 else None) for i in range(count)
    ]


def sync(producer: Producer, topic: str) -> None:
    """Send messages with each field."""
    producer.produce_sync(topic, b"x")
    producer.produce_sync(topic, b"x", key=b"k", headers=HEADERS, timestamp=5)
    producer.produce_sync(topic, b"x", partition=0, headers=TWICE)
    producer.produce_sync(topic, b"x", partition_key=b"k")


def asynchronous(producer: Producer, topic: str) -> None:
    """Send on a client in use, where an untraced one has the fast path."""
    handles = [producer.produce_async(topic, b"x", key=b"k") for _ in range(20)]
    handles += [producer.produce_async(topic, b"x", headers=HEADERS) for _ in range(20)]
    for handle in handles:
        handle.result(5)


def awaited(producer: Producer, topic: str) -> None:
    """Send in asyncio, each message in its own task."""

    async def one() -> None:
        await producer.produce_async(topic, b"x")

    async def several() -> None:
        await asyncio.gather(*(one() for _ in range(3)))

    asyncio.run(several())


def buffered(producer: Producer, topic: str) -> None:
    """Buffer and flush: the span belongs to the context that flushes."""
    producer.buffer(topic, b"x")
    producer.buffer_many(batch(topic))
    producer.flush_buffer_sync()


def idle(producer: Producer, topic: str) -> None:
    """Send, and disconnect for idleness, twice."""
    for _ in range(2):
        producer.produce_sync(topic, b"x")
        assert eventually(lambda: not producer.is_connected)
    producer.produce_sync(topic, b"x")


def full(producer: Producer, topic: str) -> None:
    """Send more than the queue holds: a wait for room makes no span."""
    with producer_of(
        kafka={"queue.buffering.max.messages": 5, "linger.ms": 20},
        wait_backoff_on_queue_full=5,
    ) as small:
        with record(small.monitor) as events:
            for handle in [small.produce_async(topic, b"x") for _ in range(40)]:
                handle.result(5)
        waits = [each for each in events if each.name == "error.occurred"]
        assert waits, "the queue was never full"


def transactions(_: Producer, topic: str) -> None:
    """Send in a transaction block, and in a transaction for one call."""
    with producer_of(kafka={"transactional.id": topic}) as each:
        with each.transaction():
            each.produce_async(topic, b"x")
            each.produce_many_async(batch(topic))
        each.produce_sync(topic, b"x")


VERBS: dict[str, Callable[[Producer, str], object]] = {
    "sync": sync,
    "async": asynchronous,
    "await": awaited,
    "many_sync": lambda producer, topic: producer.produce_many_sync(batch(topic)),
    "many_async": lambda producer, topic: [
        handle.result(5) for handle in producer.produce_many_async(batch(topic))
    ],
    "tombstone": lambda producer, topic: producer.tombstone_sync(topic, key=b"k"),
    "buffer": buffered,
    "variant": lambda producer, topic: producer.variant(
        topic_config={"acks": 1}
    ).produce_sync(topic, b"x"),
    "transaction": transactions,
    "idle": idle,
    "full": full,
}


def producer_of(**options: Any) -> Producer:
    """A producer whose clients the tracer traces."""
    return make_producer(SERVERS, **tracer.options(), **options)


with ExitStack() as stack:
    producer = stack.enter_context(producer_of(idle_disconnect_timeout=300))
    if WHEN == "after":
        tracer.install()
    for name, verb in VERBS.items():
        with tracer.caller() as trace_id:
            verb(producer, name)
        messages = read_topic(SERVERS, name)
        headers: list[Any] = [message.headers() or [] for message in messages]
        names = [Counter(key for key, _ in pairs) for pairs in headers]
        spans = tracer.spans(name)
        contexts = [tracer.context(pairs) for pairs in headers]
        say(
            verb=name,
            messages=len(messages),
            spans=len(spans),
            failed=sum(span.failed for span in spans),
            contexts=sum(context is not None for context in contexts),
            linked=tracer.linked(contexts, spans, trace_id),
            doubled=sum(max({**each, "own": 0}.values()) > 1 for each in names),
            theirs=sum(each["own"] for each in names),
        )
    producer.connect(5)
    with producer.native() as client:
        found = client.list_topics(timeout=5).topics.values()
        topics = [each for each in found if each.error is None]
    say(topics=len(topics), undelivered=producer.stats().failed)
say(sockets=sockets() if eventually(lambda: not sockets()) else "left")
