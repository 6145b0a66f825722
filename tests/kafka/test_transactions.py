"""What only a real broker does with transactions: fence, filter, store and expire."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import os
import threading
import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.kafka.harness import KafkaCluster
from waterdrop_py import AbortTransaction, Producer, Status
from waterdrop_py.errors import ProduceError
from waterdrop_py.testing import allow_short_idle_timeouts, record

if TYPE_CHECKING:
    from collections.abc import Iterator

PRODUCERS = 8
CYCLES = 40
EXPIRATION_MS = 1_000


def transactional(
    cluster: KafkaCluster, name: str | None = None, **options: Any
) -> Producer:
    """A transactional producer, with an id of its own by default."""
    kafka = {
        **cluster.client_properties(),
        "linger.ms": 0,
        "transactional.id": name or uuid.uuid4().hex,
        **options.pop("kafka", {}),
    }
    with allow_short_idle_timeouts():
        return Producer(kafka=kafka, **options)


def payloads(cluster: KafkaCluster, topic: str, isolation: Any) -> list[Any]:
    """What a reader of that isolation finds."""
    messages = cluster.read_topic(topic, isolation=isolation)
    return [message.value() for message in messages]


def test_a_second_producer_fences_the_first(kafka: KafkaCluster, topic: str) -> None:
    """The first says `fenced`, is not reloaded, and does not fence back; the second
    goes on."""
    name = uuid.uuid4().hex
    with transactional(kafka, name) as first, transactional(kafka, name) as second:
        first.produce_sync(topic, b"first")
        second.produce_sync(topic, b"second")
        with record(first.monitor) as events:
            for _ in range(2):
                with pytest.raises(ProduceError) as caught:
                    first.produce_sync(topic, b"fenced")
                assert caught.value.code == "fenced"
                assert caught.value.fatal
        assert not [each for each in events if each.name.startswith("producer.reload")]
        second.produce_sync(topic, b"again")
    assert payloads(kafka, topic, "read_committed") == [b"first", b"second", b"again"]


def test_a_fenced_producer_may_take_another_id(kafka: KafkaCluster, topic: str) -> None:
    """Where `fenced` is reloaded, a subscriber gives the new client another id: one
    call fails, one reload, and then the two producers work side by side."""
    name = uuid.uuid4().hex
    options: dict[str, Any] = {
        "non_reloadable_errors": (),
        "wait_backoff_on_transaction_fatal_error": 10,
    }
    with (
        transactional(kafka, name, **options) as first,
        transactional(kafka, name) as second,
        record(first.monitor) as events,
    ):

        @first.monitor.on("producer.reload")
        def rename(event: Any) -> None:
            event["kafka"]["transactional.id"] = f"{name}-other"

        first.produce_sync(topic, b"0")
        second.produce_sync(topic, b"1")
        with pytest.raises(ProduceError, match="fenced"):
            first.produce_sync(topic, b"fenced")
        for _ in range(5):
            first.produce_sync(topic, b"first")
            second.produce_sync(topic, b"second")
        reloads = [each for each in events if each.name == "producer.reloaded"]
        assert [each["attempt"] for each in reloads] == [1]
    assert len(payloads(kafka, topic, "read_committed")) == 12


def test_two_rivals_reload_no_more_often_than_allowed(
    kafka: KafkaCluster, topic: str
) -> None:
    """Without another id each reload fences the rival; the number of them is capped."""
    name = uuid.uuid4().hex
    options: dict[str, Any] = {
        "non_reloadable_errors": (),
        "wait_backoff_on_transaction_fatal_error": 0,
        "max_attempts_on_transaction_fatal_error": 3,
    }
    with (
        transactional(kafka, name, **options) as first,
        transactional(kafka, name, **options) as second,
        record(first.monitor) as events,
    ):
        first.produce_sync(topic, b"x")
        for _ in range(6):
            # The rival comes between its beginning and its end.
            with pytest.raises(ProduceError), first.transaction():
                first.produce_async(topic, b"x")
                with transactional(kafka, name) as rival:
                    rival.connect()
        assert len([e for e in events if e.name == "producer.reloaded"]) == 3
        assert second.produce_sync(topic, b"x").error is None


def test_an_aborted_message_is_for_read_uncommitted(
    kafka: KafkaCluster, topic: str
) -> None:
    """Delivered and then rolled back: only who reads what is not committed sees it."""
    with transactional(kafka, wait_timeout_on_transaction_abort=5000) as producer:
        with producer.transaction():
            producer.produce_async(topic, b"committed")
        with producer.transaction():
            producer.produce_sync(topic, b"aborted")
            raise AbortTransaction
        with producer.transaction():
            handle = producer.produce_async(topic, b"awaited")
            raise AbortTransaction
        assert handle.result(0).error is None
    assert payloads(kafka, topic, "read_committed") == [b"committed"]
    assert payloads(kafka, topic, "read_uncommitted") == [
        b"committed",
        b"aborted",
        b"awaited",
    ]


def test_a_consumed_offset_is_committed_with_its_transaction(
    kafka: KafkaCluster, topic: str
) -> None:
    """The group's offset is the message's + 1, with its metadata, once the transaction
    is committed; an abort leaves it where it was."""
    group = uuid.uuid4().hex
    settings = {
        "bootstrap.servers": kafka.bootstrap("INTERNAL"),
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    # `committed` of the first waits until a transaction's offset is decided.
    consumer = Consumer({**settings, "isolation.level": "read_committed"})
    hasty = Consumer({**settings, "isolation.level": "read_uncommitted"})
    with closing(consumer), closing(hasty), transactional(kafka) as producer:
        for payload in (b"0", b"1"):
            producer.produce_sync(topic, payload)
        consumer.subscribe([topic])
        consumed = [message_of(consumer) for _ in range(2)]
        where = [TopicPartition(topic, 0)]

        with producer.transaction():
            producer.mark_as_consumed(consumer, consumed[0], "why")
            assert hasty.committed(where, 10)[0].offset < 0
        (stored,) = consumer.committed(where, 10)
        assert (stored.offset, stored.metadata) == (1, "why")

        with producer.transaction(), record(producer.monitor) as events:
            producer.mark_as_consumed(consumer, consumed[1])
            raise AbortTransaction
        assert consumer.committed(where, 10)[0].offset == 1
        (marked,) = [e for e in events if e.name == "transaction.marked_as_consumed"]
        assert marked["messages"] == [consumed[1]]


def message_of(consumer: Consumer) -> Any:
    """The next message, within 30 s."""
    message = consumer.poll(30)
    assert message is not None
    assert message.error() is None
    return message


@pytest.mark.parametrize("verb", ["sync", "async"])
def test_a_message_the_broker_refuses_ends_its_transaction_only(
    kafka: KafkaCluster, verb: str
) -> None:
    """Too large for the topic: the call, or the commit, says so; the same producer
    goes on, and nothing of that transaction is visible."""
    config = {"max.message.bytes": "200"}
    topic = kafka.create_topic(f"small-{uuid.uuid4().hex[:12]}", config=config)
    with transactional(kafka) as producer:
        producer.produce_sync(topic, b"before")
        with pytest.raises(ProduceError) as caught, producer.transaction():
            producer.produce_async(topic, b"fits")
            if verb == "sync":
                producer.produce_sync(topic, os.urandom(1000))
            else:
                producer.produce_async(topic, os.urandom(1000))
        assert caught.value.code == "msg_size_too_large"
        producer.produce_sync(topic, b"after")
    assert payloads(kafka, topic, "read_committed") == [b"before", b"after"]


def test_commit_then_abort_again_and_again(kafka: KafkaCluster, topic: str) -> None:
    """Eight producers with forty commits, each followed by an abort: none hangs, no
    commit is lost, and if anything is refused, the next one works."""
    committed: list[bytes] = []
    refused: list[str] = []

    def work(index: int) -> None:
        with transactional(
            kafka, wait_backoff_on_transaction_fatal_error=10
        ) as producer:
            for cycle in range(CYCLES):
                payload = b"%d-%d" % (index, cycle)
                try:
                    with producer.transaction():
                        producer.produce_async(topic, payload)
                    committed.append(payload)
                    with producer.transaction():
                        producer.produce_async(topic, b"aborted")
                        raise AbortTransaction
                except ProduceError as error:
                    refused.append(error.code)
            producer.produce_sync(topic, b"%d-end" % index)
            committed.append(b"%d-end" % index)

    threads = [threading.Thread(target=work, args=(each,)) for each in range(PRODUCERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a producer hangs"
    assert set(refused) <= {"invalid_txn_state"}
    assert len(committed) >= PRODUCERS * (CYCLES + 1) - len(refused)
    found = payloads(kafka, topic, "read_committed")
    assert sorted(set(found)) == sorted(set(committed))
    assert len(found) == len(set(found))


@pytest.fixture(scope="module")
def forgetful() -> Iterator[KafkaCluster]:
    """A broker that soon forgets a transactional.id that is not used."""
    with KafkaCluster(
        properties={
            "transactional.id.expiration.ms": str(EXPIRATION_MS),
            "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
            "producer.id.expiration.ms": str(EXPIRATION_MS),
            "producer.id.expiration.check.interval.ms": "200",
        }
    ) as cluster:
        yield cluster


def test_an_idle_producer_outlives_its_transactional_id(
    forgetful: KafkaCluster,
) -> None:
    """Disconnected for longer than the broker remembers its id, it wakes and commits:
    a new client introduces itself anew, where a connected one would be lost."""
    topic = forgetful.create_topic(f"topic-{uuid.uuid4().hex[:12]}")
    with transactional(forgetful, idle_disconnect_timeout=200) as producer:
        producer.produce_sync(topic, b"0")
        with record(producer.monitor) as events:
            for payload in (b"1", b"2"):
                with producer.transaction():
                    producer.produce_async(topic, payload)
                deadline = time.monotonic() + 5
                while producer.status is not Status.DISCONNECTED:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                time.sleep(3 * EXPIRATION_MS / 1000)
            producer.produce_sync(topic, b"3")
        assert producer.stats().opens == 3
        assert not [each for each in events if each.name == "error.occurred"]
    found = payloads(forgetful, topic, "read_committed")
    assert found == [b"0", b"1", b"2", b"3"]
