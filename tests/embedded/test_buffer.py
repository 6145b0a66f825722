"""The buffer: no message is lost or duplicated on its way to the cluster."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, eventually, in_threads
from tests.scenarios.harness import run_scenario
from waterdrop_py import Message, Producer
from waterdrop_py.errors import (
    MessageInvalidError,
    ProduceManyError,
    ProducerClosedError,
)

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

FLUSHES = ["flush_buffer_async", "flush_buffer_sync"]
SMALL_QUEUE = {"queue.buffering.max.messages": 5}


def payloads(cluster: EmbeddedCluster, topic: str) -> list[bytes | None]:
    """The payloads in the topic."""
    return [message.value() for message in cluster.read(topic)]


def labels_left(producer: Producer) -> list[Any]:
    """The labels of the messages that a close reports as undelivered, in order."""
    return [each.label for each in producer.close(0, force=True).undelivered]


def test_buffering_does_nothing_else(
    make_producer: MakeProducer, log: EventLog
) -> None:
    """Buffering runs no validation and no middleware, and opens no client. It changes
    the size, and emits two events."""
    ran: list[Message] = []
    producer = make_producer(middleware=[ran.append])
    assert producer.buffer_size == 0
    producer.buffer("not a topic", 5, key=b"", label="l")  # type: ignore[arg-type]
    assert producer.buffer_size == producer.stats().buffered == 1
    batch: list[Any] = [Message("t", b"x"), {"topic": "t", "payload": None}]
    producer.buffer_many(batch)
    assert producer.buffer_size == 3
    assert ran == []
    assert producer.stats().opens == 0
    assert "buffered=3" in repr(producer)
    assert [r.code for r in producer.explain_idle().reasons] == ["not_connected"]
    single, many = log.wait("message.buffered"), log.wait("messages.buffered")
    assert (single["topic"], single["label"]) == ("not a topic", "l")
    assert single["message"].payload == 5
    assert many["messages"] == [Message("t", b"x"), Message("t", None)]
    producer.purge()


def test_buffer_many_is_all_or_none(make_producer: MakeProducer) -> None:
    """An item that is not a message is refused by its index, and nothing is kept."""
    producer = make_producer()
    with pytest.raises(MessageInvalidError) as invalid:
        producer.buffer_many([Message("t", b"x"), {"topic": "t"}, 5])  # type: ignore[list-item]
    assert set(invalid.value.errors) == {"messages[1].payload", "messages[2].message"}
    assert producer.buffer_size == 0


@pytest.mark.parametrize("flush", FLUSHES)
def test_a_flush_sends_in_order(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    log: EventLog,
    flush: str,
) -> None:
    """A flush returns handles or reports in order, and empties the buffer."""
    producer = make_producer()
    for n in range(3):
        producer.buffer(topic, b"%d" % n, partition=0, label=n)
    producer.buffer_many([Message(topic, b"3", partition=0, label=3)])
    outcomes: list[Any] = getattr(producer, flush)()
    assert producer.buffer_size == 0
    if flush == "flush_buffer_async":
        outcomes = [handle.result(BOUND) for handle in outcomes]
    assert [report.offset for report in outcomes] == [0, 1, 2, 3]
    assert [report.label for report in outcomes] == [0, 1, 2, 3]
    assert payloads(cluster, topic) == [b"0", b"1", b"2", b"3"]
    event = log.wait(flush.replace("flush_buffer_", "buffer.flushed_"))
    assert [message.label for message in event["messages"]] == [0, 1, 2, 3]
    assert event["time"] >= 0


@pytest.mark.parametrize("flush", FLUSHES)
def test_an_empty_flush(make_producer: MakeProducer, log: EventLog, flush: str) -> None:
    """A flush of an empty buffer emits its event, and opens no client."""
    producer = make_producer()
    assert getattr(producer, flush)() == []
    event = log.wait(flush.replace("flush_buffer_", "buffer.flushed_"))
    assert event["messages"] == []
    assert producer.stats().opens == 0


def test_flush_hands_the_buffer_over(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """`flush()` leaves nothing behind: neither in the buffer nor in flight."""
    producer = make_producer()
    producer.buffer(topic, b"buffered")
    assert producer.flush(BOUND) == 0
    assert producer.buffer_size == 0
    assert payloads(cluster, topic) == [b"buffered"]


@pytest.mark.timed
def test_flush_is_bounded_with_a_full_queue(
    make_producer: MakeProducer, dead: str
) -> None:
    """The timeout bounds the wait for room too; the rest stays buffered."""
    producer = make_producer(dead, kafka=SMALL_QUEUE)
    producer.buffer_many([Message("t", b"%d" % n) for n in range(20)])
    started = time.monotonic()
    with pytest.raises(ProduceManyError) as failed:
        producer.flush(0.3)
    assert time.monotonic() - started < 2
    assert len(failed.value.dispatched) == 5
    assert (producer.buffer_size, producer.queue_size) == (15, 5)


@pytest.mark.parametrize("flush", FLUSHES)
def test_an_invalid_message_sends_nothing(
    make_producer: MakeProducer, topic: str, flush: str
) -> None:
    """After an invalid message all is put back, in order and before later messages; its
    index is named."""
    producer = make_producer()
    producer.buffer(topic, b"0", label=0)
    producer.buffer(topic, b"1", label=1)
    producer.buffer(topic, b"2", key=b"", label=2)
    with pytest.raises(MessageInvalidError) as invalid:
        getattr(producer, flush)()
    assert set(invalid.value.errors) == {"messages[2].key"}
    assert (producer.buffer_size, producer.stats().opens) == (3, 0)
    producer.buffer(topic, b"3", label=3)
    assert labels_left(producer) == [0, 1, 2, 3]


@pytest.mark.parametrize("flush", FLUSHES)
@pytest.mark.parametrize("raised", [LookupError("mine"), KeyboardInterrupt()])
def test_a_raising_step_puts_all_back_and_each_is_stepped_once(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    flush: str,
    raised: BaseException,
) -> None:
    """A step's exception is raised as it is. The next flush sends all, and each message
    goes through the steps exactly once."""
    failing = [raised]
    calls: Counter[bytes] = Counter()

    def step(message: Message) -> Message:
        assert isinstance(message.payload, bytes)
        if message.payload == b"2" and failing:
            raise failing.pop()
        calls[message.payload] += 1
        return replace(message, payload=message.payload + b"!")

    producer = make_producer(middleware=[step])
    for n in range(4):
        producer.buffer(topic, b"%d" % n, partition=0)
    with pytest.raises(type(raised)) as caught:
        getattr(producer, flush)()
    assert caught.value is raised
    assert (producer.buffer_size, producer.stats().produced) == (4, 0)
    getattr(producer, flush)()
    assert producer.flush(BOUND) == 0
    assert payloads(cluster, topic) == [b"0!", b"1!", b"2!", b"3!"]
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("flush", FLUSHES)
def test_a_full_queue_puts_back_exactly_the_rest(
    make_producer: MakeProducer, dead: str, log: EventLog, flush: str
) -> None:
    """After a refusal, `dispatched` has what librdkafka queued, and the buffer the
    rest, before later messages: each message is in exactly one of the two."""
    producer = make_producer(
        dead,
        kafka={**SMALL_QUEUE, "message.timeout.ms": 300},
        wait_on_queue_full=False,
    )
    producer.buffer_many([Message("t", b"x", label=n) for n in range(20)])
    with pytest.raises(ProduceManyError) as failed:
        getattr(producer, flush)()
    assert failed.value.code == "queue_full"
    dispatched = [handle.label for handle in failed.value.dispatched]
    assert dispatched == [0, 1, 2, 3, 4]
    assert producer.buffer_size == 15
    if flush == "flush_buffer_sync":
        assert all(handle.done() for handle in failed.value.dispatched)
    assert log.errors("messages.produce_many_" + flush.rpartition("_")[2])
    producer.buffer("t", b"x", label="later")
    assert labels_left(producer)[-16:] == [*range(5, 20), "later"]


def test_a_failed_delivery_is_not_put_back(
    make_producer: MakeProducer, dead: str
) -> None:
    """Queued messages that fail are not put back: their handles have the errors."""
    producer = make_producer(dead, kafka={"message.timeout.ms": 200})
    producer.buffer_many([Message("t", b"x", label=n) for n in range(3)])
    with pytest.raises(ProduceManyError) as failed:
        producer.flush_buffer_sync()
    assert failed.value.code == "msg_timed_out"
    assert [handle.label for handle in failed.value.dispatched] == [0, 1, 2]
    assert producer.buffer_size == 0


def test_a_flush_that_is_interrupted_loses_nothing(
    make_producer: MakeProducer, dead: str
) -> None:
    """After Ctrl-C during the wait for room, the rest is in the buffer."""
    producer = make_producer(dead, kafka=SMALL_QUEUE)

    def interrupt(event: Any) -> None:
        if event["type"] == "messages.produce_many_async":
            raise KeyboardInterrupt

    producer.monitor.subscribe("error.occurred", interrupt)
    producer.buffer_many([Message("t", b"x", label=n) for n in range(8)])
    with pytest.raises(KeyboardInterrupt):
        producer.flush_buffer_async()
    assert (producer.buffer_size, producer.queue_size) == (3, 5)


class Load:
    """The work of 8 threads on one buffer, bounded in time and number."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self.producer, self.topic = producer, topic
        self.until = time.monotonic() + 2
        self.handles: list[Any] = []
        self.appended: Counter[int] = Counter()

    def run(self, index: int) -> None:
        """Five threads add, two flush, and one flushes and waits."""
        while time.monotonic() < self.until and self.appended[index] < 2_000:
            if index < 5:
                self.append(index)
            elif index < 7:
                self.handles.extend(self.producer.flush_buffer_async())
            else:
                self.producer.flush_buffer_sync()
                time.sleep(0.002)

    def append(self, index: int) -> None:
        """Add ten messages singly, and two at once."""
        first = self.appended[index]
        payloads = [b"%d:%d" % (index, first + n) for n in range(12)]
        for payload in payloads[:10]:
            self.producer.buffer(self.topic, payload)
        self.producer.buffer_many([Message(self.topic, each) for each in payloads[10:]])
        self.appended[index] += 12


def test_appends_and_flushes_from_8_threads(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """No message is lost or duplicated, however adds and flushes interleave."""
    producer = make_producer()
    load = Load(producer, topic)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert in_threads(8, load.run) == []
    finally:
        sys.setswitchinterval(before)
    producer.flush_buffer_sync()
    assert producer.flush(BOUND) == 0
    assert producer.buffer_size == 0
    came = Counter(payloads(cluster, topic))
    assert set(came.values()) == {1}
    assert len(came) == load.appended.total() == producer.stats().acknowledged
    assert all(handle.exception(0) is None for handle in load.handles)


@pytest.mark.timed
@pytest.mark.parametrize("way", ["flush", "purge"])
def test_a_buffer_refuses_the_idle_disconnect(
    make_producer: MakeProducer, topic: str, log: EventLog, way: str
) -> None:
    """A buffer refuses the disconnect with its own reason, once. After a flush the idle
    time starts again, and after a purge the client is closed at once."""
    producer = make_producer(idle_disconnect_timeout=1_000)
    producer.produce_sync(topic, b"x")
    producer.buffer(topic, b"y")
    producer.buffer(topic, b"z")
    event = log.wait("producer.disconnect_refused")
    assert (event["reason"], event["count"]) == ("buffered", 2)
    assert producer.disconnect() is False
    [reason] = [r for r in producer.explain_idle().reasons if r.code == "buffered"]
    assert reason.count == 2
    assert not producer.explain_idle().disconnectable
    time.sleep(0.3)
    assert producer.is_connected
    assert len(log.all("producer.disconnect_refused")) == 1
    started = time.monotonic()
    if way == "flush":
        producer.flush_buffer_sync()
    else:
        producer.purge()
    if way == "purge":
        assert log.wait("producer.disconnected")["reason"] == "idle"
        assert log.times("producer.disconnecting")[0] - started < 0.8
    else:
        # The flush itself does not go out on a client that is older than it may be.
        assert log.wait("producer.disconnected")["reason"] == "stale"
        assert log.wait("producer.disconnected", 2)["reason"] == "idle"
        took = log.times("producer.disconnecting")[1] - started
        assert 1 <= took < 3


def test_close_flushes_it(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Close delivers the buffer, also if the producer was never connected."""
    producer = make_producer()
    producer.buffer_many([Message(topic, b"%d" % n, partition=0) for n in range(100)])
    report = producer.close()
    assert (report.delivered, report.failed, report.undelivered) == (100, 0, [])
    assert report.complete
    assert payloads(cluster, topic) == [b"%d" % n for n in range(100)]


def test_an_invalid_message_does_not_stop_the_close(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """An invalid message is undelivered, and an event; the others are delivered."""
    producer = make_producer()
    producer.buffer(topic, b"0", partition=0)
    producer.buffer("not a topic", b"1")
    producer.buffer(topic, b"2", partition=0)
    report = producer.close()
    assert (report.delivered, report.failed, report.complete) == (2, 0, True)
    assert [message.payload for message in report.undelivered] == [b"1"]
    assert payloads(cluster, topic) == [b"0", b"2"]
    assert isinstance(
        log.errors("messages.produce_many_async")[0]["error"], MessageInvalidError
    )
    assert log.names()[-1] == "producer.closed"


def test_a_raising_step_does_not_stop_the_close(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Its message is undelivered, the others are delivered."""

    def step(message: Message) -> Message:
        if message.payload == b"1":
            raise LookupError("mine")
        return message

    producer = make_producer(middleware=[step])
    producer.buffer_many([Message(topic, b"%d" % n, partition=0) for n in range(3)])
    report = producer.close()
    assert [message.payload for message in report.undelivered] == [b"1"]
    assert payloads(cluster, topic) == [b"0", b"2"]


@pytest.mark.timed
def test_the_drain_report_is_in_order(
    make_producer: MakeProducer, dead: str, topic: str
) -> None:
    """Undelivered messages are listed in order: in flight, then the buffer, an invalid
    one in its place; the close keeps its bound."""
    producer = make_producer(dead, kafka=SMALL_QUEUE)
    for n in range(3):
        producer.produce_async("t", b"x", label=n)
    producer.buffer("t", b"x", label=3)
    producer.buffer("not a topic", b"x", label=4)
    producer.buffer_many([Message("t", b"x", label=n) for n in range(5, 10)])
    started = time.monotonic()
    report = producer.close(0.5)
    assert time.monotonic() - started < 1
    assert [message.label for message in report.undelivered] == list(range(10))
    assert (report.delivered, report.failed, report.complete) == (0, 0, True)


def test_force_gives_the_buffer_up(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """A forced close reports the buffer as undelivered, and opens no client."""
    producer = make_producer()
    producer.buffer_many([Message(topic, b"%d" % n) for n in range(3)])
    report = producer.close(force=True)
    assert [m.payload for m in report.undelivered] == [b"0", b"1", b"2"]
    assert not log.all("producer.connected")


def test_a_variants_buffer_is_flushed_by_the_close(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A variant with its own client has its own buffer, which a close delivers too."""
    producer = make_producer()
    variant = producer.variant(topic_config={"acks": 1})
    variant.buffer(topic, b"variant", partition=0)
    variant.buffer("not a topic", b"bad")
    producer.buffer(topic, b"producer", partition=0)
    assert (producer.buffer_size, variant.buffer_size) == (1, 2)
    report = producer.close()
    assert (report.delivered, len(report.undelivered)) == (2, 1)
    assert set(payloads(cluster, topic)) == {b"variant", b"producer"}


def test_closed(make_producer: MakeProducer) -> None:
    """After a close, every verb of the buffer refuses, and the size can be read."""
    producer = make_producer()
    producer.close()
    for verb in (
        lambda: producer.buffer("t", b"x"),
        lambda: producer.buffer_many([Message("t", b"x")]),
        producer.flush_buffer_async,
        producer.flush_buffer_sync,
        producer.flush,
        producer.purge,
    ):
        with pytest.raises(ProducerClosedError):
            verb()
    assert producer.buffer_size == 0


def test_buffering_inside_callbacks(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """A delivery callback may buffer, and flush what it has buffered."""
    producer = make_producer()
    flushed: list[Any] = []

    def again(_: object) -> None:
        producer.buffer(topic, b"from a callback")
        flushed.extend(producer.flush_buffer_async())

    producer.produce_async(topic, b"x").add_done_callback(again)
    assert eventually(lambda: bool(flushed))
    assert flushed[0].result(BOUND).error is None
    assert sorted(filter(None, payloads(cluster, topic))) == [b"from a callback", b"x"]


PROGRAM = """
import sys
from waterdrop_py import Message, Producer
producer = Producer(kafka={"bootstrap.servers": sys.argv[1]})
producer.buffer_many([Message(sys.argv[2], b"%d" % n) for n in range(50)])
if sys.argv[3] == "dropped":
    import warnings
    warnings.simplefilter("ignore", ResourceWarning)
    del producer
"""

CHILD = """
import multiprocessing, sys
from waterdrop_py import Message, Producer
def child():
    producer = globals()["kept"] = Producer(kafka={"bootstrap.servers": sys.argv[1]})
    producer.buffer_many([Message(sys.argv[2], b"%d" % n) for n in range(50)])
if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""

FORKED = """
import os, sys
from waterdrop_py import Producer
producer = Producer(kafka={"bootstrap.servers": sys.argv[1]})
producer.buffer(sys.argv[2], b"of the parent")
child = os.fork()
if not child:
    assert producer.buffer_size == 0, producer
    producer.buffer(sys.argv[2], b"of the child")
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert producer.buffer_size == 1, producer
"""


@pytest.mark.parametrize("how", ["kept", "dropped"])
def test_a_buffer_at_the_end_of_a_process(
    cluster: EmbeddedCluster, topic: str, how: str
) -> None:
    """A process that ends delivers the buffer of a producer that never connected."""
    outcome = run_scenario(PROGRAM, cluster.bootstrap_servers, topic, how)
    outcome.assert_clean()
    assert outcome.err == ""
    assert Counter(payloads(cluster, topic)) == {b"%d" % n: 1 for n in range(50)}


def test_a_buffer_at_the_end_of_a_multiprocessing_child(
    cluster: EmbeddedCluster, topic: str
) -> None:
    """The same for a child that runs no atexit handlers."""
    run_scenario(CHILD, cluster.bootstrap_servers, topic).assert_clean()
    assert len(payloads(cluster, topic)) == 50


def test_a_forked_child_has_an_empty_buffer(
    cluster: EmbeddedCluster, topic: str
) -> None:
    """The parent delivers what it has buffered, once; the child does not."""
    run_scenario(FORKED, cluster.bootstrap_servers, topic).assert_clean()
    assert sorted(filter(None, payloads(cluster, topic))) == [
        b"of the child",
        b"of the parent",
    ]


def test_a_dropped_producer_says_how_many(
    make_producer: MakeProducer, cluster: EmbeddedCluster, topic: str
) -> None:
    """A producer collected with a buffer issues a ResourceWarning, and sends it."""
    producer = Producer(kafka={"bootstrap.servers": cluster.bootstrap_servers})
    producer.buffer_many([Message(topic, b"x") for _ in range(7)])
    with pytest.warns(ResourceWarning, match="7 messages"):
        del producer
    assert eventually(lambda: len(payloads(cluster, topic)) == 7)
    assert eventually(lambda: threading.active_count() < 50)
