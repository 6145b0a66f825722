"""Figures that survive reconnects, and what a producer says about itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import BOUND, eventually, in_threads
from waterdrop_py import Status
from waterdrop_py.errors import BrokerUnreachableError, ProduceError

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster


def test_counters_survive_reconnects(make_producer: MakeProducer, topic: str) -> None:
    """Opens, disconnects by reason, messages by outcome, and time with a client."""
    producer = make_producer()
    before = producer.stats()
    assert (before.opens, before.produced, dict(before.disconnects)) == (0, 0, {})
    assert before.reopen_ms is None
    assert before.connected_ms == before.idle_ms_saved == 0
    for round_ in range(3):
        for _ in range(5):
            producer.produce_sync(topic, b"x")
        stats = producer.stats()
        assert (stats.opens, stats.produced) == (round_ + 1, 5 * (round_ + 1))
        assert producer.disconnect()
    stats = producer.stats()
    assert (stats.opens, dict(stats.disconnects)) == (3, {"requested": 3})
    assert (stats.produced, stats.acknowledged) == (15, 15)
    assert (stats.failed, stats.in_flight) == (0, 0)
    assert stats.reopen_ms is not None
    assert stats.reopen_ms > 0
    assert stats.connected_ms > 0
    time.sleep(0.01)
    later = producer.stats()
    assert later.connected_ms == stats.connected_ms
    assert later.idle_ms_saved > stats.idle_ms_saved > 0
    producer.close()
    assert producer.stats().acknowledged == 15


def test_failures_are_counted_apart(
    make_producer: MakeProducer, topic: str, dead: str
) -> None:
    """What never was accepted is not in the figures; what was and failed is."""
    producer = make_producer(
        dead, kafka={"message.timeout.ms": 500, "message.max.bytes": 2_000}
    )
    with pytest.raises(ProduceError):
        producer.produce_async("any", b"." * 5_000)
    assert producer.stats().produced == 0
    with pytest.raises(ProduceError):
        producer.produce_sync("any", b"x")
    stats = producer.stats()
    assert (stats.produced, stats.acknowledged, stats.failed) == (1, 0, 1)


def test_the_figures_always_add_up(make_producer: MakeProducer, topic: str) -> None:
    """produced == acknowledged + failed + in flight, in every look from any thread."""
    producer = make_producer(idle_disconnect_timeout=20)
    wrong: list[object] = []

    def work(index: int) -> None:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            if index < 2:
                producer.produce_sync(topic, b"x", partition=index)
                time.sleep(0.03 * index)
            else:
                stats = producer.stats()
                if stats.acknowledged > stats.produced or stats.failed:
                    wrong.append(stats)

    assert in_threads(4, work) == []
    assert wrong == []


def test_queue_size_is_what_has_no_outcome(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Also as len(); 0 without a client; truth is another matter."""
    producer = make_producer()
    assert (producer.queue_size, len(producer), bool(producer)) == (0, 0, True)
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_500)
    handles = [producer.produce_async(topic, b"x", partition=0) for _ in range(7)]
    assert (producer.queue_size, len(producer)) == (7, 7)
    assert producer.stats().in_flight == 7
    for handle in handles:
        handle.result(BOUND)
    assert producer.queue_size == 0


@pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")
def test_what_a_producer_says_of_itself(
    make_producer: MakeProducer, topic: str
) -> None:
    """Its members, before and after it is used; repr opens nothing, shows no secret."""
    producer = make_producer(
        id="orders",
        tags={"team": "a"},
        kafka={"enable.idempotence": True, "sasl.password": "hunter2"},
    )
    assert (producer.id, dict(producer.tags)) == ("orders", {"team": "a"})
    assert (producer.is_idempotent, producer.is_transactional) == (True, False)
    assert repr(producer) == "<Producer 'orders' configured in_flight=0>"
    assert "hunter2" not in repr(producer.config) + str(producer.config.kafka)
    producer.produce_sync(topic, b"x")
    assert producer.status is Status.CONNECTED


def test_idle_ms_counts_from_the_last_report(
    make_producer: MakeProducer, topic: str
) -> None:
    """It grows while nothing happens, and a message takes it back."""
    producer = make_producer()
    assert producer.idle_ms is None
    producer.produce_sync(topic, b"x")
    assert eventually(lambda: (producer.idle_ms or 0) >= 100)
    started = time.monotonic()
    producer.produce_sync(topic, b"x")
    assert eventually(
        lambda: (producer.idle_ms or 0) <= (time.monotonic() - started) * 1000
    )
    producer.disconnect()
    assert producer.idle_ms is None


def test_each_producer_makes_a_name_of_its_own(make_producer: MakeProducer) -> None:
    """`waterdrop-` and twelve hex digits."""
    names = [make_producer().id for _ in range(2)]
    assert names[0] != names[1]
    for name in names:
        prefix, _, digits = name.partition("-")
        assert (prefix, len(digits)) == ("waterdrop", 12)
        int(digits, 16)


def test_idempotent_producers_deliver_and_go_idle(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """The next client has a producer id of its own, and loses nothing."""
    producer = make_producer(
        idle_disconnect_timeout=50, kafka={"enable.idempotence": True}
    )
    for number in range(3):
        producer.produce_sync(topic, b"%d" % number, partition=0)
        log.wait("producer.disconnected", number + 1)
    assert [m.value() for m in cluster.read(topic)] == [b"0", b"1", b"2"]


def test_health_while_messages_wait_for_a_broker_that_is_away(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer
) -> None:
    """Un-acknowledged messages and an error as the newest thing heard: not healthy,
    with the reason. Healthy again with the first acknowledgement, and when nothing is
    waiting."""
    producer = make_producer()
    producer.produce_sync(topic, b"x")
    for broker in (1, 2, 3):
        cluster.broker_down(broker)
    time.sleep(0.2)
    assert producer.health().healthy  # nothing waits
    handle = producer.produce_async(topic, b"x")
    assert eventually(lambda: not producer.health().healthy)
    error = producer.health().error
    assert isinstance(error, BrokerUnreachableError)
    assert "messages without an acknowledgement: 1" in str(error)
    assert producer.health().status is Status.CONNECTED
    cluster.heal()
    handle.result(BOUND)
    assert producer.health().healthy
