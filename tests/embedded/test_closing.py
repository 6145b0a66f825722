"""`close()` is bounded, accounts for everything, and is final."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, eventually, in_threads
from waterdrop_py import Message, Status
from waterdrop_py._engine.process.resources import count_resources
from waterdrop_py.errors import ProduceError, ProducerClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import Producer
    from waterdrop_py._engine.reports.accounting import DrainReport
    from waterdrop_py.testing import DroppingProxy, EmbeddedCluster

PURGED = {"purge_queue", "purge_inflight"}


def test_close_delivers_what_is_on_its_way(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Every handle is resolved, the report counts them, and they are read back."""
    producer = make_producer()
    handles = [producer.produce_async(topic, b"%d" % n) for n in range(1_000)]
    report = producer.close()
    assert all(handle.done() for handle in handles)
    assert [handle.exception(0) for handle in handles] == [None] * 1_000
    assert (report.failed, report.undelivered, report.complete) == (0, [], True)
    assert 0 < report.delivered <= 1_000  # those acknowledged before are not its own
    assert len(cluster.read(topic)) == 1_000
    assert producer.status is Status.CLOSED


@pytest.mark.timed
def test_close_does_not_wait_for_the_linger(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """linger.ms=10000: delivered now, and all of it accounted for."""
    producer = make_producer(kafka={"linger.ms": 10_000})
    handles = [producer.produce_async(topic, b"%d" % n) for n in range(10)]
    started = time.monotonic()
    report = producer.close()
    assert time.monotonic() - started < 2
    assert (report.delivered, report.failed, report.undelivered) == (10, 0, [])
    assert all(handle.exception(0) is None for handle in handles)
    assert len(cluster.read(topic)) == 10


@pytest.mark.timed
@pytest.mark.parametrize("fault", ["refused", "black hole", "down"])
def test_close_is_bounded_with_the_brokers_gone(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    proxy: DroppingProxy,
    topic: str,
    fault: str,
) -> None:
    """timeout + 0.5 s; what is left is purged, and listed in the order of sending."""
    producer = make_producer(proxy.bootstrap_servers)
    for partition in range(3):
        producer.produce_sync(topic, b"warm", partition=partition)
    if fault == "black hole":
        proxy.black_hole()
    elif fault == "refused":
        proxy.refuse()
        proxy.reset()
    else:
        for broker in cluster.brokers:
            cluster.broker_down(broker.id)
    handles = [
        producer.produce_async(topic, b"%d" % n, partition=n % 3, label=n)
        for n in range(90)
    ]
    started = time.monotonic()
    report = producer.close(timeout=1)
    assert 1 <= time.monotonic() - started < 1.5
    errors = [handle.exception(0) for handle in handles]
    assert {getattr(error, "code", None) for error in errors} <= PURGED
    assert (report.delivered, report.failed, report.complete) == (0, 0, True)
    assert [message.label for message in report.undelivered] == list(range(90))
    assert all(isinstance(message, Message) for message in report.undelivered)
    assert producer.stats().failed == 90


@pytest.mark.timed
def test_force_purges_at_once(
    make_producer: MakeProducer, dead: str, log: EventLog
) -> None:
    """No wait for delivery; one dispatch error for each message."""
    producer = make_producer(dead)
    handles = [producer.produce_async("any", b"%d" % n) for n in range(5)]
    started = time.monotonic()
    report = producer.close(timeout=30, force=True)
    assert time.monotonic() - started < 0.7
    assert [m.payload for m in report.undelivered] == [b"%d" % n for n in range(5)]
    assert {getattr(h.exception(0), "code", None) for h in handles} == {"purge_queue"}
    assert len(log.errors("librdkafka.dispatch_error")) == 5


def test_close_is_idempotent(make_producer: MakeProducer, topic: str) -> None:
    """The second call returns the same account, at once."""
    producer = make_producer()
    producer.produce_async(topic, b"x")
    assert producer.close() == producer.close()


def test_close_from_four_threads_at_once(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """One closes, all return when it is closed, and all get the same account."""
    producer = make_producer(kafka={"linger.ms": 200})
    handles = [producer.produce_async(topic, b"x") for _ in range(20)]
    reports: list[Any] = []
    assert in_threads(4, lambda _: reports.append(producer.close())) == []
    assert len(reports) == 4
    assert all(report == reports[0] for report in reports)
    assert reports[0].complete
    assert all(handle.done() for handle in handles)
    assert len(log.all("producer.closed")) == 1


@pytest.mark.parametrize("timeout", [1e12, float("inf")])
def test_any_timeout_may_be_waited_for(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, timeout: float
) -> None:
    """Also one that no clock of the platform can express, and in every thread."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", timeout=timeout)
    cluster.set_rtt(300)
    handle = producer.produce_async(topic, b"x")
    assert in_threads(2, lambda _: producer.close(timeout)) == []
    assert handle.result(timeout).error is None


def test_a_producer_that_was_never_connected_closes(
    make_producer: MakeProducer, log: EventLog
) -> None:
    """Nothing is opened for it."""
    report = make_producer().close()
    assert (report.delivered, report.failed, report.undelivered) == (0, 0, [])
    assert report.complete
    assert log.names("producer.") == [
        "producer.created",
        "producer.configured",
        "producer.closing",
        "producer.closed",
    ]


VERBS: list[Callable[[Producer], object]] = [
    lambda p: p.produce_sync("t", b"x"),
    lambda p: p.produce_async("t", b"x"),
    lambda p: p.produce_async("t", b"x", partition_key=b"k"),
    lambda p: p.produce_many_sync([{"topic": "t", "payload": b"x"}]),
    lambda p: p.produce_many_async([{"topic": "t", "payload": b"x"}]),
    lambda p: p.produce_many_sync([]),
    lambda p: p.produce_many_async([]),
    lambda p: p.tombstone_many_sync([]),
    lambda p: p.buffer_many([]),
    lambda p: p.connect(),
    lambda p: p.partition_count("t"),
    lambda p: p.flush(),
]


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_refused_afterwards(
    make_producer: MakeProducer, verb: Callable[[Producer], object], connected: bool
) -> None:
    """ProducerClosedError; looking at the producer still works."""
    producer = make_producer()
    if connected:
        producer.connect()
    producer.close()
    with pytest.raises(ProducerClosedError):
        verb(producer)
    assert "closed" in repr(producer)
    assert producer.stats().in_flight == 0
    assert not producer.is_connected
    assert producer.idle_ms is None


def test_with_closes_and_lets_exceptions_through(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Delivered at the end of the block, also when that is an exception."""
    producer = make_producer()

    def block() -> None:
        with producer as entered:
            assert entered is producer
            producer.produce_async(topic, b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert producer.status is Status.CLOSED
    assert [message.value() for message in cluster.read(topic)] == [b"x"]


@pytest.mark.own_process
def test_close_gives_everything_back(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Sockets, threads, descriptors; the events come in their order."""
    before = count_resources()
    producer = make_producer()
    producer.produce_sync(topic, b"x")
    producer.close()
    assert count_resources() == before
    assert log.names("producer.")[-4:] == [
        "producer.closing",
        "producer.disconnecting",
        "producer.disconnected",
        "producer.closed",
    ]
    assert log.wait("producer.disconnected")["reason"] == "close"


def test_a_close_during_sends_loses_nothing_that_was_accepted(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Senders meet ProducerClosedError; every handle they got is resolved."""
    producer = make_producer()
    accepted: list[Any] = []

    def send(_: int) -> None:
        until = time.monotonic() + BOUND
        while time.monotonic() < until:
            accepted.append(producer.produce_async(topic, b"x"))
            if len(accepted) % 50 == 0:
                time.sleep(0.002)

    raised: list[BaseException] = []
    senders = threading.Thread(target=lambda: raised.extend(in_threads(4, send)))
    senders.start()
    assert eventually(lambda: len(accepted) > 200)
    report = producer.close()
    senders.join(BOUND)
    assert not senders.is_alive()
    assert [type(error) for error in raised] == [ProducerClosedError] * 4
    assert all(handle.done() for handle in accepted)
    assert all(handle.exception(0) is None for handle in accepted)
    assert report.undelivered == []
    assert len(cluster.read(topic)) == len(accepted)


def test_delivery_errors_of_their_own_are_counted_as_failed(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """delivered + failed + undelivered is all that was on its way."""
    producer = make_producer(kafka={"linger.ms": 500})
    cluster.push_errors("Produce", "msg_size_too_large")
    handle = producer.produce_async(topic, b"x", partition=0)
    report = producer.close()
    assert (report.delivered, report.failed, report.undelivered) == (0, 1, [])
    error = handle.exception(0)
    assert isinstance(error, ProduceError)
    assert error.code == "msg_size_too_large"


@pytest.mark.timed
@pytest.mark.parametrize(
    "event", ["producer.closing", "producer.disconnecting", "producer.disconnected"]
)
def test_close_inside_an_event_of_the_close_does_not_wait_for_itself(
    make_producer: MakeProducer, topic: str, event: str
) -> None:
    """It answers `complete=False` at once, and the close goes on."""
    producer = make_producer()
    producer.produce_sync(topic, b"x")
    inner: list[DrainReport] = []
    producer.monitor.subscribe(event, lambda _: inner.append(producer.close(3)))
    started = time.monotonic()
    assert producer.close(5).complete
    assert time.monotonic() - started < 1
    if event != "producer.disconnected":  # told of by a closer, which may wait
        assert [report.complete for report in inner] == [False]


@pytest.mark.timed
def test_close_inside_a_callback_of_a_client_that_was_let_go(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """The callback disconnects, sends on the next client, and closes: at once."""
    producer = make_producer()
    took: list[float] = []
    answers: list[Any] = []

    def callback(_: object) -> None:
        answers.append(producer.disconnect())
        answers.append(producer.produce_async(topic, b"y"))
        started = time.monotonic()
        answers.append(producer.close(5))
        took.append(time.monotonic() - started)

    producer.produce_async(topic, b"x").add_done_callback(callback)
    assert eventually(lambda: bool(took))
    assert took[0] < 1
    assert eventually(lambda: producer.status is Status.CLOSED)
    assert len(cluster.read(topic)) == 2
