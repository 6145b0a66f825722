"""Spans of messages that really travel, or that no broker takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, eventually
from tests.unit.listeners.spans import Spans, context_of
from waterdrop_py import AbortTransaction, Message, Producer, ProducerPool, monitor
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded.support import MakeProducer
    from waterdrop_py.testing import EmbeddedCluster


@pytest.fixture(autouse=True)
def spans() -> Iterator[Spans]:
    """The spans of producers that are made in the test. Each one that was started has
    ended once, when all producers are closed."""
    found = Spans()
    unsubscribe = monitor.subscribe(found.listener())
    yield found
    unsubscribe()
    assert found.all_ended_once


def contexts(cluster: EmbeddedCluster, topic: str) -> set[Any]:
    """The contexts of the messages in the topic."""
    return {context_of(message.headers()) for message in cluster.read(topic)}


def own_contexts(spans: Spans) -> set[tuple[int, int]]:
    """The contexts of the spans that went well."""
    found = [each.context for each in spans.done if each.status.is_unset]
    return {(each.trace_id, each.span_id) for each in found if each is not None}


def test_each_message_has_the_context_of_its_span(
    cluster: EmbeddedCluster, make_producer: MakeProducer, spans: Spans, topic: str
) -> None:
    """Over verbs, re-opens and variants; the span has the place of its message."""
    producer = make_producer(idle_disconnect_timeout=100)
    for _ in range(2):
        producer.produce_sync(topic, b"1")
        for each in [producer.produce_async(topic, b"2") for _ in range(50)]:
            each.result(BOUND)
        producer.produce_many_sync([Message(topic, b"3", headers={"own": b"1"})] * 3)
        producer.tombstone_sync(topic, key=b"k")
        producer.buffer_many([Message(topic, b"4")] * 3)
        producer.flush_buffer_sync()
        producer.variant(topic_config={"acks": 1}).produce_sync(topic, b"5")
        assert len(spans.done) % 59 == 0
        assert eventually(lambda: not producer.is_connected)
    assert spans.outcomes == [None] * 118
    read = cluster.read(topic)
    places = {
        context_of(each.headers()): (str(each.partition()), each.offset())
        for each in read
    }
    for span in spans.done:
        found, where = span.context, span.attributes or {}
        assert found is not None
        assert places.pop((found.trace_id, found.span_id)) == (
            where["messaging.destination.partition.id"],
            where["messaging.kafka.offset"],
        )
    assert places == {}


def test_transactions(
    cluster: EmbeddedCluster, make_producer: MakeProducer, spans: Spans, topic: str
) -> None:
    """A message of an aborted transaction ends with what its handle has."""
    producer = make_producer(kafka={"transactional.id": topic, "linger.ms": 1000})
    with producer.transaction():
        producer.produce_many_async([Message(topic, b"x")] * 3)
        producer.produce_async(topic, b"x")
    producer.produce_sync(topic, b"one call")
    assert spans.outcomes == [None] * 5
    with producer.transaction():
        handles = producer.produce_many_async([Message(topic, b"x")] * 3)
        raise AbortTransaction
    failed = [each.exception(BOUND) for each in handles]
    assert spans.outcomes[5:] == [getattr(each, "code", None) for each in failed]
    assert contexts(cluster, topic) >= own_contexts(spans)


def test_a_flush_whose_transaction_is_rolled_back(
    cluster: EmbeddedCluster, make_producer: MakeProducer, spans: Spans, topic: str
) -> None:
    """The messages are sent once more; each has had its span."""
    producer = make_producer(
        kafka={"transactional.id": topic}, max_attempts_on_transaction_command=1
    )
    producer.produce_sync(topic, b"x")
    producer.buffer_many([Message(topic, b"x")] * 3)
    cluster.push_errors("EndTxn", "invalid_txn_state")
    with pytest.raises(ProduceError):
        producer.flush_buffer_sync()
    assert producer.buffer_size == 3
    producer.flush_buffer_sync()
    assert len(spans.started) == 4


def test_what_is_purged(
    make_producer: MakeProducer, spans: Spans, topic: str, dead: str
) -> None:
    """In librdkafka's queue: the code of the report, as the handles have it."""
    producer = make_producer(dead)
    handles = [producer.produce_async(topic, b"x") for _ in range(20)]
    producer.purge()
    codes = [getattr(each.exception(BOUND), "code", None) for each in handles]
    assert spans.outcomes == codes == ["purge_queue"] * 20


@pytest.mark.parametrize("force", [False, True])
def test_what_a_close_gives_up(
    make_producer: MakeProducer, spans: Spans, topic: str, dead: str, force: bool
) -> None:
    """At its bound or at once, also from the buffer: no span is open afterwards."""
    producer = make_producer(dead)
    for _ in range(20):
        producer.produce_async(topic, b"x")
    producer.buffer_many([Message(topic, b"x")] * 5)
    assert len(producer.close(0.1, force=force).undelivered) == 25
    assert set(spans.outcomes) == {"purge_queue"}
    # Without the force the buffer has gone through the middleware.
    assert len(spans.done) == (20 if force else 25)


def test_a_full_queue(
    make_producer: MakeProducer, spans: Spans, topic: str, dead: str
) -> None:
    """A message that waits for room in vain ends with `queue_full`."""
    producer = make_producer(
        dead,
        kafka={"queue.buffering.max.messages": 2},
        wait_timeout_on_queue_full=20,
        wait_backoff_on_queue_full=5,
    )
    for _ in range(2):
        producer.produce_async(topic, b"x")
    for _ in range(2):
        with pytest.raises(ProduceError):
            producer.produce_sync(topic, b"x")
    assert spans.outcomes == ["queue_full"] * 2


def test_pools(cluster: EmbeddedCluster, spans: Spans, topic: str) -> None:
    """Producers that a pool makes have the step as well."""
    config = {"kafka": {"bootstrap.servers": cluster.bootstrap_servers}}
    with ProducerPool(config, size=2) as pool, pool.acquire() as one:
        one.produce_sync(topic, b"x")
        with pool.acquire() as other:
            other.produce_async(topic, b"x").result(BOUND)
    assert spans.outcomes == [None, None]
    assert contexts(cluster, topic) == own_contexts(spans)


def test_a_producer_that_is_dropped(
    cluster: EmbeddedCluster, spans: Spans, topic: str
) -> None:
    """Its messages are delivered in the background, and their spans end."""
    producer = Producer(
        kafka={"bootstrap.servers": cluster.bootstrap_servers, "linger.ms": 50}
    )
    producer.produce_async(topic, b"x")
    with pytest.warns(ResourceWarning):
        del producer
    assert eventually(lambda: spans.outcomes == [None])
