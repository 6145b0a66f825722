"""Spans of what tasks of asyncio send, and of what they withdraw."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND
from tests.unit.listeners.spans import Spans, context_of
from waterdrop_py import AsyncProducer, Message, monitor
from waterdrop_py.errors import MessageInvalidError, ProducerClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py.testing import EmbeddedCluster


@pytest.fixture
def spans() -> Iterator[Spans]:
    """The spans of the test, for producers that are made in it."""
    found = Spans()
    unsubscribe = monitor.subscribe(found.listener())
    yield found
    unsubscribe()
    assert found.all_ended_once


def producer_of(servers: str, **kafka: Any) -> AsyncProducer:
    """A producer of these brokers."""
    return AsyncProducer(
        kafka={"bootstrap.servers": servers, "linger.ms": 0, **kafka}, close_timeout=100
    )


def test_each_verb_makes_a_span(
    cluster: EmbeddedCluster, spans: Spans, topic: str
) -> None:
    """A child of the span of its own task; it has ended as the task goes on."""

    async def one(producer: AsyncProducer, number: int) -> None:
        with spans.tracer.start_as_current_span(f"task {number}"):
            await producer.produce(topic, b"x", headers={"own": b"1"})
            await (await producer.send(topic, b"x"))
            await producer.produce_many([Message(topic, b"x")] * 2)
            for handle in await producer.send_many([Message(topic, b"x")] * 2):
                await handle
            await producer.tombstone(topic, key=b"k")

    async def main() -> None:
        async with producer_of(cluster.bootstrap_servers) as producer:
            await asyncio.gather(*(one(producer, number) for number in range(5)))
            assert len(spans.done) == 40
            producer.buffer(topic, b"x")
            await producer.flush_buffer()
            assert len(spans.done) == 41

    asyncio.run(main())
    sent = [each for each in spans.done if each.name == f"send {topic}"]
    assert len(sent) == 36
    by_id = {each.context.span_id: each for each in spans.done if each.context}
    parents = [by_id[each.parent.span_id].name for each in sent if each.parent]
    assert sorted(parents) == sorted(f"task {n}" for n in range(5) for _ in range(7))
    contexts = {context_of(message.headers()) for message in cluster.read(topic)}
    assert contexts == {
        (each.context.trace_id, each.context.span_id) for each in sent if each.context
    }


@pytest.mark.parametrize("verb", ["produce", "send", "produce_many", "send_many"])
def test_a_message_that_is_withdrawn(spans: Spans, dead: str, verb: str) -> None:
    """A task that is cancelled while its message waits for room ends the span."""

    async def main() -> None:
        options = {"queue.buffering.max.messages": 1}
        async with producer_of(dead, **options) as producer:
            await producer.send("t", b"x")
            call = getattr(producer, verb)
            given = ([Message("t", b"x")],) if "many" in verb else ("t", b"x")
            task = asyncio.create_task(call(*given))
            await asyncio.sleep(0.1)
            assert spans.outcomes == []
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert spans.outcomes == ["CancelledError"]

    asyncio.run(main())
    assert spans.outcomes == ["CancelledError", "purge_queue"]


def test_an_awaited_report_that_is_not_waited_for(
    cluster: EmbeddedCluster, spans: Spans, topic: str
) -> None:
    """The delivery goes on, and its span ends with it."""

    async def main() -> None:
        servers = cluster.bootstrap_servers
        async with producer_of(servers, **{"linger.ms": 300}) as producer:
            await producer.connect(BOUND)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(producer.produce(topic, b"x"), 0.05)
            assert spans.outcomes == []
            assert await producer.flush(BOUND) == 0

    asyncio.run(main())
    assert spans.outcomes == [None]


def test_refusals(cluster: EmbeddedCluster, spans: Spans, topic: str) -> None:
    """Invalid messages, a step that raises, and a closed producer."""

    def step(message: Message) -> Message:
        if message.payload == b"bad":
            raise LookupError
        return message

    async def main() -> None:
        producer = producer_of(cluster.bootstrap_servers)
        producer.middleware.append(step)
        given: Any = 5
        with pytest.raises(MessageInvalidError):
            await producer.produce(topic, given)
        with pytest.raises(LookupError):
            await producer.send_many([Message(topic, b"x"), Message(topic, b"bad")])
        with pytest.raises(MessageInvalidError):
            await producer.produce_many([Message(topic, b"x"), Message(topic, given)])
        await producer.close()
        with pytest.raises(ProducerClosedError):
            await producer.send(topic, b"x")

    asyncio.run(main())
    assert spans.outcomes == [
        "MessageInvalidError",
        "LookupError",
        "LookupError",
        "MessageInvalidError",
        "MessageInvalidError",
        "ProducerClosedError",
    ]


def test_a_large_batch_that_is_cancelled_as_it_is_prepared(
    cluster: EmbeddedCluster, spans: Spans, topic: str
) -> None:
    """The spans that it has begun end."""

    async def main() -> None:
        async with producer_of(cluster.bootstrap_servers) as producer:
            batch = [Message(topic, b"x")] * 5_000
            task = asyncio.create_task(producer.produce_many(batch))
            while not spans.started:  # noqa: ASYNC110 - no one could set an event
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert 0 < len(spans.started) < 5_000
            assert spans.all_ended_once

    asyncio.run(main())
    assert set(spans.outcomes) == {"CancelledError"}


def test_transactions(cluster: EmbeddedCluster, spans: Spans, topic: str) -> None:
    """Of a block, and of one call."""

    async def main() -> None:
        servers = cluster.bootstrap_servers
        async with producer_of(servers, **{"transactional.id": topic}) as producer:
            async with producer.transaction():
                await producer.send(topic, b"x")
                await producer.send_many([Message(topic, b"x")] * 2)
            await producer.produce(topic, b"x")

    asyncio.run(main())
    assert spans.outcomes == [None] * 4
