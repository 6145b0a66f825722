"""Figures of what was not held, against a proxy that counts connections."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest

from tests.embedded.support import BOUND, EventLog, eventually
from waterdrop_py import Producer, ledger, monitor
from waterdrop_py.planning import GAP_EDGES, Buckets
from waterdrop_py.testing import DroppingProxy

if TYPE_CHECKING:
    from tests.embedded.support import MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

IDLE_MS = 100


class Held:
    """Adds up how long a proxy's connections are open. A thread looks all the time."""

    def __init__(self, proxy: DroppingProxy) -> None:
        self.seconds = 0.0
        self._proxy = proxy
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> float:
        """Connections times seconds until now."""
        self._over.set()
        self._thread.join(BOUND)
        return self.seconds

    def _look(self) -> None:
        at, count = time.monotonic(), self._proxy.open
        while not self._over.wait(0.002):
            now, found = time.monotonic(), self._proxy.open
            self.seconds += (now - at) * (count + found) / 2
            at, count = now, found


@pytest.mark.timed
@pytest.mark.long
@pytest.mark.own_process
def test_what_was_saved_is_what_a_bare_client_holds_more(
    make_producer: MakeProducer, cluster: EmbeddedCluster, topic: str
) -> None:
    """The same traffic to three brokers, gaps of a second and more, each client behind
    a proxy of its own: within 2 %."""
    with DroppingProxy(cluster) as of_bare, DroppingProxy(cluster) as of_ours:
        ours = make_producer(of_ours.bootstrap_servers, idle_disconnect_timeout=IDLE_MS)
        bare = confluent_kafka.Producer(
            {"bootstrap.servers": of_bare.bootstrap_servers, "linger.ms": 0}
        )

        def send() -> None:
            for partition in range(3):
                bare.produce(topic, b"x", partition=partition)
                ours.produce_async(topic, b"x", partition=partition)
            assert bare.flush(BOUND) == ours.flush(BOUND) == 0

        send()
        held = Held(of_bare), Held(of_ours)
        gaps = (1.0, 2.0, 1.0, 3.0)
        for gap in gaps:
            time.sleep(gap)
            send()
        bare_s, ours_s = (each.end() for each in held)
        stats = ours.stats()
        ours.close()
        bare.close()
    error = stats.saved.connection_s / (bare_s - ours_s) - 1
    logging.getLogger(__name__).info("error of the ledger: %+.2f %%", 100 * error)
    assert (stats.reopens, stats.unmeasured) == (len(gaps), 0)
    assert [*stats.idle_gaps_s.counts] == [*Buckets.of(GAP_EDGES, gaps_of(gaps)).counts]
    assert stats.saved.thread_s > stats.saved.connection_s
    assert stats.saved.descriptor_s > stats.saved.connection_s
    assert abs(error) <= 0.02, (
        f"proxies: {bare_s:.2f} - {ours_s:.2f} connection-seconds; "
        f"ledger: {stats.saved.connection_s:.2f}; error {error:+.2%}"
    )


def gaps_of(slept: tuple[float, ...]) -> list[float]:
    """A gap is a little longer than the sleep: the messages before were delivered."""
    return [each + 0.001 for each in slept]


@pytest.mark.own_process
def test_an_idle_producer_counts_what_it_released(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Each figure is the time without a client, times what the event said."""
    producer = make_producer(idle_disconnect_timeout=IDLE_MS)
    producer.produce_sync(topic, b"x")
    released = log.wait("producer.disconnected")["released"]
    assert released is not None
    assert released["sockets"] >= 1
    time.sleep(0.3)
    stats = producer.stats()
    length = stats.saved.connection_s / released["sockets"]
    assert 0.2 < length < stats.idle_ms_saved / 1000 + 0.01
    assert stats.saved.thread_s == pytest.approx(length * released["threads"], rel=0.1)
    assert stats.saved.descriptor_s == pytest.approx(length * released["fds"], rel=0.1)


def test_a_wake_up_is_timed_to_its_first_delivery(
    make_producer: MakeProducer, topic: str, cluster: EmbeddedCluster, log: EventLog
) -> None:
    """The round trips of a slow cluster are in it; `connect()` waits for fewer."""
    producer = make_producer()
    producer.produce_sync(topic, b"x")
    producer.disconnect()
    cluster.set_rtt(100)
    producer.produce_sync(topic, b"x")
    producer.disconnect()
    first = producer.stats().reopen_times_ms
    assert first.count == 1
    assert first.sum >= 200
    producer.connect()
    assert producer.stats().reopen_times_ms.count == 2
    producer.close()
    told = [event["reopen_ms"] for event in log.all("producer.disconnected")]
    assert told[0] is None
    assert told[1] == first.sum
    assert told[2] == producer.stats().reopen_times_ms.sum - first.sum


def test_a_partition_key_is_no_second_wake_up(
    make_producer: MakeProducer, topic: str
) -> None:
    """The look-up of the partitions opens the client, and the message has waited for
    both: one re-open, with a time."""
    producer = make_producer()
    producer.produce_sync(topic, b"x")
    producer.disconnect()
    producer.produce_sync(topic, b"x", partition_key=b"k")
    stats = producer.stats()
    assert (stats.reopens, stats.reopen_times_ms.count) == (1, 1)


def test_transactions_are_uses(make_producer: MakeProducer, topic: str) -> None:
    """A re-open of a transactional producer registers its id, and has its time."""
    producer = make_producer(kafka={"transactional.id": f"figures-{topic}"})
    for _ in range(2):
        with producer.transaction():
            producer.produce_async(topic, b"x")
        producer.disconnect()
        time.sleep(1.05)
    with producer.transaction():
        producer.produce_async(topic, b"x")
    stats = producer.stats()
    assert (stats.reopens, stats.reopen_times_ms.count) == (2, 2)
    assert stats.idle_gaps_s.count == 2
    assert 2.1 <= stats.idle_gaps_s.sum < 4


@pytest.mark.own_process
def test_the_ledger_grows_by_what_a_producer_does(
    make_producer: MakeProducer, topic: str
) -> None:
    """Of the whole process, variants included; a close takes nothing away."""
    before = ledger()
    producer = make_producer()
    for each in (producer, producer.variant(topic_config={"acks": 1})):
        each.produce_sync(topic, b"x")
    producer.disconnect()
    producer.produce_sync(topic, b"x")
    producer.close()
    after = ledger()
    assert after.opens == before.opens + 3
    assert after.reopens == before.reopens + 1
    assert after.reopen_times_ms.count == before.reopen_times_ms.count + 1
    assert after.connected_s > before.connected_s


def test_a_collected_producer_closes_with_its_final_figures(
    make_producer: MakeProducer, cluster: EmbeddedCluster, topic: str
) -> None:
    """Messages that were on their way when it was dropped are in them."""
    told: list[Any] = []
    stop = monitor.subscribe("producer.closed", told.append)
    kafka = {"bootstrap.servers": cluster.bootstrap_servers, "linger.ms": 100}
    producer = Producer(kafka=kafka, id="dropped")
    for _ in range(5):
        producer.produce_async(topic, b"x")
    with pytest.warns(ResourceWarning, match="dropped without close"):
        del producer
    try:
        assert eventually(lambda: bool(told))
    finally:
        stop()
    (closed,) = told
    assert closed["producer_id"] == "dropped"
    stats = closed["stats"]
    assert (stats.produced, stats.acknowledged, stats.in_flight) == (5, 5, 0)
    assert stats.disconnects == {"close": 1}
