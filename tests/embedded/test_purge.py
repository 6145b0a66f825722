"""`purge()`: everything that was not delivered is dropped, and its handles say so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import BOUND, eventually
from waterdrop_py.errors import ProduceError, ProducerClosedError

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster


@pytest.mark.timed
def test_handles_resolve(make_producer: MakeProducer, dead: str, log: EventLog) -> None:
    """Queued messages resolve with `purge_queue`, and the buffer is empty."""
    producer = make_producer(dead)
    handles = [producer.produce_async("t", b"x", label=n) for n in range(10)]
    producer.buffer("t", b"x")
    started = time.monotonic()
    producer.purge()
    assert time.monotonic() - started < 1
    assert all(handle.done() for handle in handles)
    for handle in handles:
        with pytest.raises(ProduceError) as failed:
            handle.result(0)
        assert failed.value.code == "purge_queue"
        assert not failed.value.retriable
    assert (producer.buffer_size, producer.queue_size) == (0, 0)
    assert producer.stats().failed == 10
    assert log.wait("buffer.purged")["time"] >= 0
    assert len(log.errors("librdkafka.dispatch_error")) == 10


def test_what_is_on_the_wire(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A message in flight resolves with `purge_inflight`; the producer works on."""
    producer = make_producer()
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(3_000)
    handle = producer.produce_async(topic, b"slow", partition=0)
    time.sleep(0.5)
    producer.purge()
    error = handle.exception(0)
    assert isinstance(error, ProduceError)
    assert error.code == "purge_inflight"
    cluster.set_rtt(0)
    assert producer.produce_sync(topic, b"next", partition=1).error is None


def test_never_connected(make_producer: MakeProducer, log: EventLog) -> None:
    """Without a client, a purge empties the buffer, emits its event, and opens none."""
    producer = make_producer()
    producer.buffer("t", b"x")
    producer.purge()
    assert producer.buffer_size == 0
    log.wait("buffer.purged")
    assert not log.all("producer.connecting")
    assert producer.flush_buffer_sync() == []


def test_with_nothing_to_purge(make_producer: MakeProducer, topic: str) -> None:
    """A purge of nothing has no effect, and delivered messages stay delivered."""
    producer = make_producer()
    handle = producer.produce_async(topic, b"x")
    handle.result(BOUND)
    producer.purge()
    producer.purge()
    assert handle.exception(0) is None
    assert producer.stats().failed == 0


def test_closed(make_producer: MakeProducer, log: EventLog) -> None:
    """A closed producer refuses a purge, like any other verb."""
    producer = make_producer()
    producer.close()
    with pytest.raises(ProducerClosedError):
        producer.purge()
    assert not log.all("buffer.purged")


def test_inside_a_callback(make_producer: MakeProducer, dead: str) -> None:
    """Inside a callback a purge does not block; the handles resolve afterwards."""
    producer = make_producer(dead, kafka={"message.timeout.ms": 300})
    handles = []

    def purge(_: object) -> None:
        handles.append(producer.produce_async("t", b"second"))
        producer.purge()

    producer.produce_async("t", b"first").add_done_callback(purge)
    assert eventually(lambda: bool(handles))
    error = handles[0].exception(BOUND)
    assert isinstance(error, ProduceError)
    assert error.code in {"purge_queue", "msg_timed_out"}


def test_a_variant_purges_its_own(make_producer: MakeProducer, dead: str) -> None:
    """A variant with its own client purges only its own messages."""
    producer = make_producer(dead)
    variant = producer.variant(topic_config={"acks": 1})
    mine, other = producer.produce_async("t", b"x"), variant.produce_async("t", b"y")
    variant.purge()
    assert other.done()
    assert not mine.done()
    producer.purge()
    assert mine.done()


def test_then_the_idle_disconnect(
    make_producer: MakeProducer, dead: str, log: EventLog
) -> None:
    """After a purge, messages in flight no longer delay the disconnect."""
    producer = make_producer(dead, idle_disconnect_timeout=300)
    producer.produce_async("t", b"x")
    assert log.wait("producer.disconnect_refused")["reason"] == "in_flight"
    producer.purge()
    assert log.wait("producer.disconnected")["reason"] == "idle"
