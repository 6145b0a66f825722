"""Tests of a service that sends: pytest, or pytest -n 4 with pytest-xdist."""

from orders import Orders

from waterdrop_py import Event, Producer
from waterdrop_py.testing import BufferedClient, EmbeddedCluster


def test_what_is_sent(fake: Producer, kafka: BufferedClient) -> None:
    """With the double: microseconds, and every field of the message is there."""
    assert Orders(fake).announce(42, "tea")
    [message] = kafka.messages_for("orders")
    assert message.key() == b"42"
    assert message.value() == b'{"id": 42, "item": "tea"}'


def test_what_arrives(producer: Producer, cluster: EmbeddedCluster, topic: str) -> None:
    """With the mock cluster: milliseconds, and the message went over a socket."""
    assert Orders(producer, topic).announce(42, "tea")
    [message] = cluster.read(topic)
    assert message.key() == b"42"


def test_a_refusal(producer: Producer, cluster: EmbeddedCluster, topic: str) -> None:
    """The brokers refuse the message, and the service says so."""
    cluster.push_errors("Produce", "topic_authorization_failed")
    assert not Orders(producer, topic).announce(42, "tea")


def test_the_events(fake: Producer, waterdrop_events: list[Event]) -> None:
    """What a listener hears."""
    Orders(fake).announce(42, "tea")
    names = [event.name for event in waterdrop_events]
    assert "message.acknowledged" in names
    assert "error.occurred" not in names
