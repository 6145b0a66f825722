"""What steps do to messages that really travel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import BOUND
from waterdrop_py import Message, monitor

if TYPE_CHECKING:
    from tests.embedded.support import MakeProducer
    from waterdrop_py.testing import EmbeddedCluster


def stamped(message: Message) -> Message:
    """A step that adds a header."""
    return replace(message, headers={"stamp": "s"})


def test_what_a_consumer_reads(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """What the steps made of it, by whatever verb it was sent."""
    producer = make_producer(middleware=[stamped])
    producer.produce_sync(topic, b"1")
    producer.produce_async(topic, b"2").result(BOUND)
    producer.produce_many_sync([Message(topic, b"3")])
    producer.tombstone_sync(topic, key=b"k")
    producer.buffer(topic, b"5")
    producer.flush_buffer_sync()
    producer.variant(topic_config={"acks": 1}).produce_sync(topic, b"6")
    read = cluster.read(topic)
    assert len(read) == 6
    assert [each.headers() for each in read] == [[("stamp", b"s")]] * 6


def test_appended_while_it_sends(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """From the next message on, also of a client that is open and busy."""
    producer = make_producer()
    for _ in range(100):
        producer.produce_async(topic, b"plain", partition=0)
    producer.middleware.append(stamped)
    for _ in range(100):
        producer.produce_async(topic, b"stamped", partition=0)
    assert producer.flush(BOUND) == 0
    for message in cluster.read(topic):
        assert (message.headers() is not None) == (message.value() == b"stamped")


@pytest.mark.parametrize("way", ["append", "prepend"])
def test_the_module_monitor_equips_every_producer(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, way: str
) -> None:
    """One subscriber of `producer.configured` equips each producer of the process."""
    unsubscribe = monitor.subscribe(
        "producer.configured",
        lambda event: getattr(event["producer"].middleware, way)(stamped),
    )
    try:
        for _ in range(2):
            make_producer().produce_sync(topic, b"x")
    finally:
        unsubscribe()
    make_producer().produce_sync(topic, b"y")
    stamps = [message.headers() for message in cluster.read(topic)]
    assert stamps.count(None) == 1
    assert len(stamps) == 3


def test_reports_carry_what_was_sent(make_producer: MakeProducer, topic: str) -> None:
    """The handle and the report have the message that the steps made."""
    producer = make_producer(middleware=[stamped])
    handle = producer.produce_async(topic, b"x", label="mine")
    report = handle.result(BOUND)
    assert report.message.headers == [("stamp", b"s")]
    assert handle.label == report.label == "mine"
