"""A broker that is not there, or goes away, as seen from the sending verbs."""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import BOUND, hanging_up, silent
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    DeliveryTimeoutError,
    ProduceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.embedded.support import MakeProducer
    from waterdrop_py.testing import DroppingProxy, EmbeddedCluster


@pytest.mark.timed
@pytest.mark.parametrize(
    ("server", "hint"), [(silent, "firewall"), (hanging_up, "ended the connection")]
)
def test_a_sync_call_fails_within_its_timeout(
    make_producer: MakeProducer,
    server: Callable[[], AbstractContextManager[str]],
    hint: str,
) -> None:
    """DeliveryTimeoutError with a checklist; the message is still on its way."""
    with server() as servers:
        producer = make_producer(servers)
        started = time.monotonic()
        with pytest.raises(DeliveryTimeoutError) as raised:
            producer.produce_sync("any", b"x", timeout=1)
        assert 1 <= time.monotonic() - started < 1.6
        assert "within 1 s" in str(raised.value)
        assert any(hint in point for point in raised.value.checklist), raised.value
        assert producer.queue_size == 1
        producer.close(force=True)


def test_a_timeout_with_a_dead_broker_names_the_cause(
    make_producer: MakeProducer, dead: str
) -> None:
    """On the handle's own wait too."""
    handle = make_producer(dead).produce_async("any", b"x")
    with pytest.raises(DeliveryTimeoutError) as raised:
        handle.result(1)
    assert any("refused" in point for point in raised.value.checklist)
    assert any(dead in point for point in raised.value.checklist)


@pytest.mark.own_process
def test_a_process_that_has_as_many_clients_as_it_can(
    make_producer: MakeProducer, topic: str
) -> None:
    """Every client takes a key for thread-specific data: without one there is an
    error that says so, and the next call tries again."""
    libc = ctypes.CDLL(None)
    producer = make_producer()
    keys = []
    while not libc.pthread_key_create(ctypes.byref(key := ctypes.c_uint()), None):
        keys.append(key)
    with pytest.raises(ProduceError, match="no room for another") as raised:
        producer.produce_async(topic, b"x")
    assert (raised.value.code, raised.value.retriable) == ("too_many_clients", True)
    with pytest.raises(ProduceError, match="no room for another"):
        producer.connect(1)
    assert "no room for another" in str(producer.health(deep=True).error)
    assert producer.stats().produced == 0
    for key in keys:
        libc.pthread_key_delete(key)
    assert producer.produce_sync(topic, b"y").error is None


def test_an_open_fails_without_harm(make_producer: MakeProducer, topic: str) -> None:
    """What the factory raises reaches the caller, and the next call tries again."""
    from confluent_kafka import Producer as Native

    attempts: list[int] = []

    def factory(conf: dict[str, object]) -> Native:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("no descriptors left")
        return Native(conf)

    producer = make_producer(client_factory=factory)
    for _ in range(2):
        with pytest.raises(OSError, match="descriptors"):
            producer.produce_sync(topic, b"x")
        assert not producer.is_connected
        assert str(producer.status) == "configured"
    assert producer.produce_sync(topic, b"x").error is None
    assert producer.stats().opens == 1


def test_what_only_a_client_can_tell_shows_at_the_open(
    make_producer: MakeProducer,
) -> None:
    """A mechanism that librdkafka was not built with: construction passes, as it starts
    nothing that would tell; sending names it."""
    producer = make_producer(
        kafka={"security.protocol": "sasl_plaintext", "sasl.mechanism": "XYZ"}
    )
    with pytest.raises(ConfigurationInvalidError, match="XYZ"):
        producer.produce_async("any", b"x")
    assert not producer.is_connected


def test_a_broker_that_comes_back_gets_the_message(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Within its message.timeout.ms, once, with nothing for the caller to do."""
    producer = make_producer(kafka={"reconnect.backoff.max.ms": 100})
    producer.produce_sync(topic, b"before", partition=0)
    for broker in cluster.brokers:
        cluster.broker_down(broker.id)
    handle = producer.produce_async(topic, b"during", partition=0)
    with pytest.raises(DeliveryTimeoutError):
        handle.result(0.3)
    for broker in cluster.brokers:
        cluster.broker_up(broker.id)
    assert handle.result(BOUND).error is None
    assert [m.value() for m in cluster.read(topic)] == [b"before", b"during"]


def test_connections_reset_under_it_are_made_again(
    make_producer: MakeProducer, proxy: DroppingProxy, topic: str
) -> None:
    """A loud loss of all flows costs no message."""
    producer = make_producer(
        proxy.bootstrap_servers, kafka={"reconnect.backoff.max.ms": 100}
    )
    for round_ in range(3):
        assert producer.produce_sync(topic, b"%d" % round_, timeout=BOUND).error is None
        proxy.reset()
    assert producer.stats().opens == 1


def test_an_unknown_topic_is_an_error_of_the_look_up(
    cluster: EmbeddedCluster, make_producer: MakeProducer
) -> None:
    """A partition key for a topic that does not appear: ProduceError, nothing sent."""
    producer = make_producer(kafka={"allow.auto.create.topics": False})
    cluster.push_errors("Metadata", *["topic_authorization_failed"] * 20)
    with pytest.raises(ProduceError) as raised:
        producer.produce_async("absent-for-good", b"x", partition_key=b"k")
    assert raised.value.__cause__ is not None
    assert producer.stats().produced == 0


def test_connected_and_silent(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A broker has answered, and then nothing more: other points than where none ever
    did."""
    producer = make_producer().connect(BOUND)
    cluster.set_rtt(10_000)
    try:
        with pytest.raises(DeliveryTimeoutError) as raised:
            producer.produce_sync(topic, b"x", timeout=1)
    finally:
        cluster.set_rtt(0)
    assert "a broker has answered this client" in raised.value.checklist[0]
    assert any(f"topic '{topic}' exist" in point for point in raised.value.checklist)
    assert not any("firewall" in point for point in raised.value.checklist)
    producer.close(force=True)


def test_a_topic_that_is_not_created(make_producer: MakeProducer, topic: str) -> None:
    """Its message times out without a word of librdkafka's: the error says that the
    cluster does not know the topic, and which one may be meant; also with a key."""
    kafka = {"allow.auto.create.topics": False, "message.timeout.ms": 1000}
    producer = make_producer(kafka=kafka)
    producer.produce_sync(topic, b"x")
    with pytest.raises(ProduceError) as raised:
        producer.produce_sync(f"{topic}s", b"x", key="k")
    error = raised.value
    assert error.code == "msg_timed_out"
    assert f"topic '{topic}s' does not exist; did you mean '{topic}'?" in str(error)
    assert "message.timeout.ms is 1000 (kafka)" in str(error)
    assert any("auto.create.topics.enable" in point for point in error.checklist)
    first = make_producer(kafka=kafka)
    with pytest.raises(ProduceError, match="does not exist") as raised:
        first.produce_sync(f"{topic}s", b"x")
    assert "did you mean" not in str(raised.value)
    assert producer.produce_sync(topic, b"y").error is None
