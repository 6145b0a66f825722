"""What is sent is what a consumer reads."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from tests.embedded.support import BOUND, in_threads
from waterdrop_py import Message
from waterdrop_py.errors import MessageInvalidError, ProduceError, ProduceManyError

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster


def test_every_field_arrives(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Payload, key, partition, timestamp and headers are the ones that were given."""
    report = make_producer().produce_sync(
        topic,
        b"payload",
        key=b"key",
        partition=2,
        timestamp=1_700_000_000_123,
        headers={"a": b"1", "b": "ü", "none": None, "many": [b"x", "y", None]},
        label="label",
    )
    (message,) = cluster.read(topic)
    assert (report.topic, report.partition, report.offset) == (topic, 2, 0)
    assert (report.label, report.error) == ("label", None)
    assert report.latency_ms is not None
    assert 0 < report.latency_ms < 10_000
    assert (message.value(), message.key(), message.partition()) == (
        b"payload",
        b"key",
        2,
    )
    assert message.timestamp()[1] == 1_700_000_000_123
    assert message.headers() == [
        ("a", b"1"),
        ("b", "ü".encode()),
        ("none", None),
        ("many", b"x"),
        ("many", b"y"),
        ("many", None),
    ]


def test_headers_as_pairs_keep_order_and_repetition(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A list of pairs may repeat a name; tuples and lists are both pairs."""
    pairs: list[tuple[str, Any]] = [("z", "1"), ("a", [b"2", "3"]), ("z", None)]
    make_producer().produce_sync(topic, "x", headers=pairs)
    (message,) = cluster.read(topic)
    assert message.headers() == [("z", b"1"), ("a", b"2"), ("a", b"3"), ("z", None)]
    assert pairs == [("z", "1"), ("a", [b"2", "3"]), ("z", None)]


@pytest.mark.parametrize(
    ("payload", "arrives"),
    [
        (b"bytes", b"bytes"),
        (b"", b""),
        (bytearray(b"array"), b"array"),
        (memoryview(b"0123456789")[::2], b"02468"),
        ("tëxt", "tëxt".encode()),
        (None, None),
    ],
)
def test_payloads_of_every_type(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    payload: Any,
    arrives: bytes | None,
) -> None:
    """bytes, bytearray, memoryview, str (UTF-8) and null arrive, by both verbs."""
    producer = make_producer()
    producer.produce_sync(topic, payload, partition=0)
    producer.produce_async(topic, payload, partition=0).result(BOUND)
    assert [message.value() for message in cluster.read(topic)] == [arrives, arrives]


def test_a_payload_may_change_after_the_call(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """What was sent is what it was at the call, also when it still lingers."""
    payload = bytearray(b"before")
    producer = make_producer(kafka={"linger.ms": 100})
    handle = producer.produce_async(topic, payload)
    payload[:] = b"after!"
    handle.result(BOUND)
    assert handle.message.payload == b"before"
    assert [message.value() for message in cluster.read(topic)] == [b"before"]


class Topic(str, Enum):
    """Topics of an application."""

    ORDERS = "enum-orders"


def test_a_str_enum_is_a_topic(
    cluster: EmbeddedCluster, make_producer: MakeProducer
) -> None:
    """Its value is the name, in the report too."""
    report = make_producer().produce_sync(Topic.ORDERS, b"x")
    assert report.topic == "enum-orders"
    assert type(report.topic) is str
    assert cluster.read("enum-orders")


def test_a_datetime_is_a_timestamp(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """An aware datetime arrives as its milliseconds, whatever its zone."""
    zone = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2024, 2, 29, 23, 59, 59, 123_000, tzinfo=zone)
    make_producer().produce_sync(topic, b"x", timestamp=moment)
    (message,) = cluster.read(topic)
    assert message.timestamp()[1] == round(moment.timestamp() * 1000)


def test_a_partition_key_chooses_the_partition_and_is_never_sent(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """crc32 modulo the number of partitions; the message has no key, or its own."""
    producer = make_producer()
    keys: list[bytes | str] = [b"customer-%d" % each for each in range(8)] + ["ümlaut"]
    reports = [producer.produce_sync(topic, b"x", partition_key=key) for key in keys]
    raw = [key.encode() if isinstance(key, str) else key for key in keys]
    assert [report.partition for report in reports] == [crc32(key) % 3 for key in raw]
    producer.produce_sync(topic, b"y", partition_key=b"customer-1", key=b"mine")
    assert {message.key() for message in cluster.read(topic)} == {None, b"mine"}


def test_an_explicit_partition_wins(make_producer: MakeProducer, topic: str) -> None:
    """Over a partition key and a key; -1 is none."""
    producer = make_producer()
    chosen = crc32(b"k") % 3
    other = (chosen + 1) % 3
    sent = [
        producer.produce_sync(topic, b"x", partition=each, partition_key=b"k", key=b"k")
        for each in (other, -1)
    ]
    assert [report.partition for report in sent] == [other, chosen]


def test_partition_counts_are_cached_across_reopens(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """After a re-open the count is known: it works with metadata requests failing."""
    producer = make_producer()
    assert producer.partition_count(topic) == 3
    assert producer.disconnect()
    assert not producer.is_connected
    assert producer.partition_count(topic) == 3
    assert not producer.is_connected


def test_labels_are_any_object_and_come_back(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """The very object, on the handle, the report and the message; never sent."""
    label = {"order": [1, 2], "self": object()}
    producer = make_producer()
    handle = producer.produce_async(topic, b"x", label=label)
    report = handle.result(BOUND)
    assert handle.label is label
    assert report.label is label
    assert report.message.label is label
    assert all(b"order" not in (m.value() or b"") for m in cluster.read(topic))


def test_many_come_in_input_order(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Reports and handles in the order of the messages, which are never mutated."""
    producer = make_producer()
    mapping = {"topic": topic, "payload": "0", "partition": 0, "headers": {"h": ["v"]}}
    given: list[Any] = [
        mapping,
        *(Message(topic, str(n), partition=0, label=n) for n in range(1, 50)),
    ]
    reports = producer.produce_many_sync(given)
    handles = producer.produce_many_async(iter(given))
    assert [report.offset for report in reports] == list(range(50))
    assert [handle.result(BOUND).offset for handle in handles] == list(range(50, 100))
    assert [report.label for report in reports[1:]] == list(range(1, 50))
    assert mapping == {
        "topic": topic,
        "payload": "0",
        "partition": 0,
        "headers": {"h": ["v"]},
    }
    values = [message.value() for message in cluster.read(topic)]
    assert values == [str(number).encode() for number in range(50)] * 2


def test_nothing_to_send_opens_nothing(make_producer: MakeProducer) -> None:
    """An empty batch has no reports, and needs no client."""
    producer = make_producer()
    assert producer.produce_many_sync([]) == []
    assert producer.produce_many_async([]) == []
    assert producer.flush() == 0
    assert not producer.is_connected


def test_a_batch_with_an_invalid_message_sends_none(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """All are validated first; each error is named with its place."""
    producer = make_producer()
    batch: list[dict[str, Any]] = [
        {"topic": topic, "payload": b"x"},
        {"topic": "a b", "payload": 5, "k": 1},
    ]
    for verb in (producer.produce_many_sync, producer.produce_many_async):
        with pytest.raises(MessageInvalidError) as raised:
            verb(batch)
        assert "messages[1].k" in raised.value.errors
    assert not producer.is_connected
    assert cluster.read(topic) == []


def test_a_batch_that_fails_in_the_middle_ends_final(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """`dispatched` has what was handed over before, each with its outcome."""
    producer = make_producer(kafka={"message.max.bytes": 2_000})
    batch = [Message(topic, b"%d" % n, partition=0) for n in range(3)]
    batch += [Message(topic, b"." * 5_000), Message(topic, b"never")]
    with pytest.raises(ProduceManyError) as raised:
        producer.produce_many_sync(batch)
    assert raised.value.code == "msg_size_too_large"
    assert raised.value.__cause__ is not None
    assert [handle.done() for handle in raised.value.dispatched] == [True] * 3
    assert [handle.result(0).offset for handle in raised.value.dispatched] == [0, 1, 2]
    assert [m.value() for m in cluster.read(topic)] == [b"0", b"1", b"2"]


def test_a_batch_of_which_one_is_refused_by_the_broker_ends_final(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """The error is the first one's in input order; the others are delivered."""
    producer = make_producer()
    for partition in (0, 1):
        producer.produce_sync(topic, b"warm", partition=partition)
    cluster.push_errors("Produce", "msg_size_too_large")
    batch = [Message(topic, b"cold", partition=each) for each in (0, 1)]
    with pytest.raises(ProduceManyError) as raised:
        producer.produce_many_sync(batch)
    assert raised.value.code == "msg_size_too_large"
    assert [handle.done() for handle in raised.value.dispatched] == [True, True]
    outcomes = [handle.exception(0) for handle in raised.value.dispatched]
    assert sorted(error is None for error in outcomes) == [False, True]
    (event,) = log.errors("messages.produce_many_sync")
    assert [message.payload for message in event["messages"]] == [b"cold", b"cold"]
    assert [m.value() for m in cluster.read(topic)].count(b"cold") == 1
    assert producer.produce_many_sync(batch)[0].error is None


@pytest.mark.parametrize("verb", ["produce_sync", "produce_async"])
def test_a_message_that_is_too_large_is_refused_at_the_call(
    make_producer: MakeProducer, topic: str, verb: str, log: EventLog
) -> None:
    """`msg_size_too_large`, not retriable, told of once, nothing in flight."""
    producer = make_producer(kafka={"message.max.bytes": 2_000})
    with pytest.raises(ProduceError) as raised:
        getattr(producer, verb)(topic, b"." * 2_000)
    assert raised.value.code == "msg_size_too_large"
    assert not raised.value.retriable
    assert raised.value.__cause__ is not None
    assert producer.queue_size == 0
    assert len(log.errors(f"message.{verb}")) == 1


def test_max_payload_size_is_in_bytes_and_inclusive(
    make_producer: MakeProducer, topic: str
) -> None:
    """The encoded text counts; one byte more is a MessageInvalidError."""
    producer = make_producer(max_payload_size=4)
    assert producer.produce_sync(topic, "üü").error is None
    assert producer.produce_async(topic, b"1234").exception(BOUND) is None
    assert producer.produce_sync(topic, None).error is None
    for payload in ("üü!", b"12345", bytearray(5)):
        with pytest.raises(MessageInvalidError, match=r"at most 4 bytes .* got 5"):
            producer.produce_async(topic, payload)


def test_an_unknown_partition_is_an_error(
    make_producer: MakeProducer, topic: str
) -> None:
    """Of the call, or of the delivery while the topic's metadata is not known."""
    producer = make_producer()
    for _ in range(2):
        with pytest.raises(ProduceError) as raised:
            producer.produce_sync(topic, b"x", partition=77, timeout=BOUND)
        assert raised.value.code == "unknown_partition"
    assert producer.queue_size == 0


def test_threads_may_send_at_once(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """One client is opened, and every message arrives once."""
    producer = make_producer()

    def send(index: int) -> None:
        for number in range(50):
            producer.produce_sync(topic, f"{index}-{number}", partition=index % 3)

    assert in_threads(6, send) == []
    values = [message.value() for message in cluster.read(topic)]
    assert len(values) == len(set(values)) == 300
    stats = producer.stats()
    assert (stats.opens, stats.produced, stats.acknowledged) == (1, 300, 300)
