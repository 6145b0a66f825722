"""Null payloads for a key: what a consumer reads, and what they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND
from waterdrop_py import Message
from waterdrop_py.errors import MessageInvalidError

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

VERBS = ["tombstone_sync", "tombstone_async"]
MANY = ["tombstone_many_sync", "tombstone_many_async"]


def final(outcome: Any) -> Any:
    """The report of a handle, or the report."""
    return outcome.result(BOUND) if hasattr(outcome, "result") else outcome


@pytest.mark.parametrize("verb", VERBS)
def test_null_is_read_back(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, verb: str
) -> None:
    """A consumer sees the key, the headers and no payload, where it was sent to."""
    producer = make_producer()
    outcome = getattr(producer, verb)(
        topic, key="gone", partition=2, headers={"by": ["a", None]}
    )
    report = final(outcome)
    assert (report.topic, report.partition, report.error) == (topic, 2, None)
    [read] = cluster.read(topic)
    assert read.value() is None
    assert read.key() == b"gone"
    assert (read.partition(), read.headers()) == (2, [("by", b"a"), ("by", None)])


@pytest.mark.parametrize("verb", VERBS)
def test_the_key_chooses_the_partition(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, verb: str
) -> None:
    """Without a partition it goes where the messages of that key are: it would
    delete nothing anywhere else."""
    producer = make_producer()
    for n in range(12):
        producer.produce_async(topic, b"x", key=b"key-%d" % n)
    for n in range(12):
        final(getattr(producer, verb)(topic, key=b"key-%d" % n))
    places: dict[Any, set[int | None]] = {}
    for message in cluster.read(topic):
        places.setdefault(message.key(), set()).add(message.partition())
    assert {len(each) for each in places.values()} == {1}
    assert len(places) == 12


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("key", [None, "", b"", 5, -1, 1.5, [b"k"], True])
def test_a_key_is_required(
    make_producer: MakeProducer, topic: str, verb: str, key: Any
) -> None:
    """The error names it, and nothing is opened or sent."""
    producer = make_producer()
    with pytest.raises(MessageInvalidError) as invalid:
        getattr(producer, verb)(topic, key=key)
    assert set(invalid.value.errors) == {"key"}
    assert producer.stats().opens == 0
    with pytest.raises(TypeError):
        getattr(producer, verb)(topic)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"topic": "not a topic"}, "topic"),
        ({"partition": -2}, "partition"),
        ({"partition": 1.0}, "partition"),
        ({"partition": True}, "partition"),
        ({"headers": 5}, "headers"),
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_the_rest_is_validated_too(
    make_producer: MakeProducer, topic: str, verb: str, wrong: Any, field: str
) -> None:
    """As with any message."""
    arguments = {"topic": topic, "key": b"k", **wrong}
    with pytest.raises(MessageInvalidError) as invalid:
        getattr(make_producer(), verb)(arguments.pop("topic"), **arguments)
    assert set(invalid.value.errors) == {field}


@pytest.mark.parametrize("verb", MANY)
def test_many(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, verb: str
) -> None:
    """Mappings with or without a payload, and messages; in input order; a payload of
    whatever kind is ignored, and what the caller passed stays as it was."""
    batch: list[Any] = [
        {"topic": topic, "key": b"0", "partition": 0},
        {"topic": topic, "key": "1", "partition": 0, "payload": b"ignored"},
        {"topic": topic, "key": "2", "partition": 0, "payload": 5, "label": "l"},
        Message(topic, b"ignored", b"3", 0, headers={"h": "v"}),
    ]
    before = [dict(each) for each in batch[:3]]
    reports = [final(each) for each in getattr(make_producer(), verb)(batch)]
    assert [report.offset for report in reports] == [0, 1, 2, 3]
    assert reports[2].label == "l"
    assert batch[:3] == before
    assert batch[3].payload == b"ignored"
    read = cluster.read(topic)
    assert [each.value() for each in read] == [None] * 4
    assert [each.key() for each in read] == [b"0", b"1", b"2", b"3"]
    assert read[3].headers() == [("h", b"v")]


@pytest.mark.parametrize("verb", MANY)
def test_one_bad_one_sends_none(
    make_producer: MakeProducer, topic: str, verb: str
) -> None:
    """Every violation is named with its place, and nothing is sent."""
    producer = make_producer()
    batch: list[Any] = [
        {"topic": topic, "key": b"good"},
        {"topic": topic},
        {"key": b"k"},
        {},
        Message(topic, b"x"),
        {"topic": topic, "key": b"k", "color": 1},
        5,
    ]
    with pytest.raises(MessageInvalidError) as invalid:
        getattr(producer, verb)(batch)
    assert set(invalid.value.errors) == {
        "messages[1].key",
        "messages[2].topic",
        "messages[3].topic",
        "messages[3].key",
        "messages[4].key",
        "messages[5].color",
        "messages[6].message",
    }
    assert producer.stats().opens == 0


def test_events(make_producer: MakeProducer, topic: str, log: EventLog) -> None:
    """They are messages like any other."""
    producer = make_producer()
    producer.tombstone_sync(topic, key=b"k")
    event = log.wait("message.produced_sync")
    assert event["message"] == Message(topic, None, b"k")
    log.wait("message.acknowledged")
    producer.tombstone_many_async([{"topic": topic, "key": b"k"}])
    assert log.wait("messages.produced_async")["messages"][0].payload is None
