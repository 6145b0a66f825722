"""Messages whose partition turns out not to exist are handed over once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from tests.concurrency.support import HookedMarks, connection_of, named
from tests.doubles import BOUND, Run, eventually, kafka_failure
from waterdrop_py._engine.connection.resending import Resending
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import Producer
    from waterdrop_py.testing import FakeClock

PARTITION: int = KafkaError._UNKNOWN_PARTITION  # noqa: SLF001 - librdkafka's name
TOPIC: int = KafkaError.UNKNOWN_TOPIC_OR_PART
REMOVED: int = KafkaError._DESTROY  # noqa: SLF001 - librdkafka's name
GONE = [PARTITION, TOPIC, REMOVED]


def knowing_six(bench: Bench, make: Make) -> Producer:
    """A producer that has learned that the topic has six partitions."""
    bench.topics["t"] = 6
    producer = make()
    producer.partition_count("t")
    return producer


@pytest.mark.parametrize("code", GONE)
def test_a_refused_report_is_sent_again_by_the_new_count(
    bench: Bench, make: Make, code: int
) -> None:
    """One handle, one outcome, one message in the figures."""
    producer = knowing_six(bench, make)
    bench.topics["t"] = 1
    bench.auto = False
    told: list[object] = []
    handle = producer.produce_async("t", b"x", partition_key="customer-1")
    handle.add_done_callback(told.append)
    bench.client.fail(code)
    eventually(lambda: len(bench.sent) == 2)
    assert not handle.done()
    assert producer.queue_size == 1
    assert not producer.disconnect()
    assert [partition for _, partition, _, _ in bench.client.headers][1] == 0
    bench.client.ack()
    assert handle.result(BOUND).error is None
    stats = producer.stats()
    assert (stats.produced, stats.acknowledged, stats.failed) == (1, 1, 0)
    assert (stats.in_flight, told) == (0, [handle])
    assert len(named(make.events, "message.acknowledged")) == 1
    assert not named(make.events, "error.occurred")
    assert producer.partition_count("t") == 1


def test_a_refused_call_is_made_again_by_the_new_count(
    bench: Bench, make: Make
) -> None:
    """librdkafka refuses a partition that it knows not to exist."""
    producer = knowing_six(bench, make)
    bench.topics["t"] = 1
    bench.fail("produce", kafka_failure(PARTITION))
    report = producer.produce_sync("t", b"x", partition_key="customer-1")
    assert report.error is None
    assert bench.client.headers[-1][1] == 0
    stats = producer.stats()
    assert (stats.produced, stats.acknowledged, stats.in_flight) == (1, 1, 0)
    assert not named(make.events, "error.occurred")


def test_it_is_handed_over_once_more_and_not_twice(bench: Bench, make: Make) -> None:
    """The second refusal is the outcome; a waiting call ends with it."""
    producer = knowing_six(bench, make)
    bench.auto = False
    sync = Run(
        lambda: producer.produce_sync("t", b"x", partition_key="k", timeout=BOUND)
    )
    eventually(lambda: len(bench.sent) == 1)
    bench.client.fail(PARTITION)
    eventually(lambda: len(bench.sent) == 2)
    bench.client.fail(PARTITION)
    with pytest.raises(ProduceError) as raised:
        sync.result()
    assert raised.value.code == "unknown_partition"
    assert len(bench.sent) == 2
    stats = producer.stats()
    assert (stats.produced, stats.failed, stats.in_flight) == (1, 1, 0)
    assert bench.calls["list_topics"] == 2


def test_an_explicit_partition_is_asked_for_before_it_is_refused(
    bench: Bench, make: Make
) -> None:
    """It is sent when the topic has grown, and refused when it has not, by the call
    and by the report; a second one within a second causes no request."""
    bench.topics["t"] = 2
    producer = make()
    producer.partition_count("t")
    bench.topics["t"] = 4
    bench.fail("produce", kafka_failure(PARTITION))
    assert producer.produce_sync("t", b"x", partition=3).error is None
    assert bench.client.headers[-1][1] == 3
    for _ in range(2):
        bench.fail("produce", kafka_failure(PARTITION))
        with pytest.raises(ProduceError) as raised:
            producer.produce_sync("t", b"x", partition=4)
        assert raised.value.code == "unknown_partition"
    assert bench.calls["list_topics"] == 2
    bench.auto = False
    handle = producer.produce_async("t", b"x", partition=9)
    bench.client.fail(PARTITION)
    error = handle.exception(BOUND)
    assert getattr(error, "code", None) == "unknown_partition"


def test_a_topic_that_is_gone_fails_the_message(bench: Bench, make: Make) -> None:
    """The cluster knows it no more: what the report said is the outcome, and the old
    count is forgotten."""
    producer = knowing_six(bench, make)
    del bench.topics["t"]
    bench.missing.add("t")
    bench.auto = False
    handle = producer.produce_async("t", b"x", partition_key="k")
    bench.client.fail(TOPIC)
    error = handle.exception(BOUND)
    assert getattr(error, "code", None) == "unknown_topic_or_part"
    assert connection_of(producer).partitions.count("t") is None
    assert producer.queue_size == 0


def test_a_message_without_a_place_is_not_sent_again(bench: Bench, make: Make) -> None:
    """The partitioner of librdkafka knows what it does."""
    producer = make()
    bench.auto = False
    handle = producer.produce_async("t", b"x", key=b"k")
    bench.client.fail(TOPIC)
    assert getattr(handle.exception(BOUND), "code", None) == "unknown_topic_or_part"
    assert bench.calls["list_topics"] == 0


def test_a_report_that_is_given_back_is_settled_without_a_caller(
    bench: Bench, make: Make
) -> None:
    """The thread that polled may just have left: the poller serves the client."""
    producer = make()
    bench.auto = False
    handle = producer.produce_async("t", b"x")
    client = connection_of(producer).client
    [report] = bench.client.lost()
    eventually(lambda: client.quiet)
    client.arrived.append((handle, KafkaError(TOPIC), report))
    eventually(handle.done)
    assert getattr(handle.exception(0), "code", None) == "unknown_topic_or_part"


def test_a_close_waits_for_messages_that_are_sent_again(
    bench: Bench, make: Make
) -> None:
    """What is refused while a producer closes is delivered by that close."""
    producer = knowing_six(bench, make)
    bench.topics["t"] = 1
    bench.auto = False
    handles = [
        producer.produce_async("t", b"x", partition_key=f"k{n}") for n in range(20)
    ]
    closing = Run(lambda: producer.close(BOUND))
    eventually(lambda: str(producer.status) == "closing")
    bench.auto = True
    bench.client.fail(PARTITION)
    report = closing.result()
    assert (report.delivered, report.failed, report.undelivered) == (20, 0, [])
    assert all(handle.result(0).error is None for handle in handles)


def test_a_close_gives_up_messages_that_are_not_sent_again_in_time(
    bench: Bench, make: Make
) -> None:
    """They are undelivered, in order, and are not sent behind the close."""
    producer = knowing_six(bench, make)
    bench.auto = False
    handles = [
        producer.produce_async("t", b"%d" % n, partition_key="k") for n in range(3)
    ]
    with bench.park("list_topics") as park:
        bench.client.fail(PARTITION)
        park.entered()
        eventually(lambda: len(producer.close(0.1).undelivered) == 3)
        report = producer.close(0.1)
        assert [message.payload for message in report.undelivered] == [b"0", b"1", b"2"]
        assert all(handle.done() for handle in handles)
    eventually(lambda: not bench.open_clients)
    assert len(bench.sent) == 3


def test_a_message_is_given_up_as_it_is_sent_again(bench: Bench, make: Make) -> None:
    """The producer is closed right before the mark: the message is undelivered, and is
    not sent."""
    producer = knowing_six(bench, make)
    client = connection_of(producer).client
    bench.auto = False
    handle = producer.produce_async("t", b"x", partition_key="k")
    reports = []
    with bench.park("close") as park:

        def close() -> None:
            reports.append(Run(lambda: producer.close(0)))
            park.entered()

        client.borrows = HookedMarks(before_append=close)
        bench.client.fail(PARTITION)
        eventually(lambda: reports)
        reports[0].result()
    report = producer.close(BOUND)
    assert [message.payload for message in report.undelivered] == [b"x"]
    eventually(lambda: not bench.open_clients)
    assert getattr(handle.exception(0), "code", None) == "purge_inflight"
    assert len(bench.sent) == 1


def test_a_call_that_is_refused_twice_fails(bench: Bench, make: Make) -> None:
    """By the call as by the report: once more, and not again."""
    bench.topics["t"] = 6
    producer = make()
    bench.fail("produce", kafka_failure(PARTITION), kafka_failure(PARTITION))
    with pytest.raises(ProduceError) as raised:
        producer.produce_async("t", b"x", partition_key="k")
    assert raised.value.code == "unknown_partition"
    assert bench.calls["produce"] == 2
    assert producer.stats().produced == 0


def test_ten_thousand_refused_messages_ask_once(
    time_: FakeClock, bench: Bench, make: Make
) -> None:
    """One question for all of them, and each is delivered."""
    bench.topics["t"] = 6
    producer = make.quiet()
    producer.partition_count("t")
    bench.topics["t"] = 2
    bench.auto = False
    batch = [
        {"topic": "t", "payload": b"x", "partition_key": f"k{n}"} for n in range(10_000)
    ]
    handles = producer.produce_many_async(batch)
    bench.auto = True
    bench.client.fail(PARTITION)
    assert producer.flush(BOUND) == 0
    assert all(handle.exception(0) is None for handle in handles)
    stats = producer.stats()
    assert (stats.produced, stats.acknowledged) == (10_000, 10_000)
    assert bench.calls["list_topics"] == 2


@pytest.mark.parametrize("method", ["produce", "list_topics"])
def test_what_a_client_raises_meanwhile_is_told(
    bench: Bench, make: Make, method: str
) -> None:
    """A foreign client raises something else than a Kafka error: it stays refused."""
    producer = knowing_six(bench, make)
    bench.topics["t"] = 1
    bench.auto = False
    errors: list[str] = []
    producer.monitor.subscribe(
        "error.occurred", lambda event: errors.append(event["type"])
    )
    handle = producer.produce_async("t", b"x", partition_key="k1")
    bench.fail(method, RuntimeError("a tracer broke"))
    bench.client.fail(PARTITION)
    eventually(handle.done)
    assert getattr(handle.exception(0), "code", None) == "unknown_partition"
    assert errors.count("librdkafka.error") == 1
    assert producer.stats().in_flight == 0


def test_a_message_that_is_refused_as_the_worker_ends(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has the right, so no other one starts for the message. It looks again
    after it has given the right back."""
    producer = make.quiet()
    producer.produce_sync("t", b"x")
    resending: Any = Resending(connection_of(producer))
    sent: list[str] = []
    late = ["late"]

    class Right(list[None]):
        """A message is refused before the right is given back."""

        def append(self, item: None) -> None:
            if late:
                resending._refused.append(late.pop())  # noqa: SLF001
            super().append(item)

    monkeypatch.setattr(Resending, "_send_again", lambda _, report: sent.append(report))
    resending._refused, resending._right = ["first"], Right([None])  # noqa: SLF001
    resending._work()  # noqa: SLF001
    assert sent == ["first", "late"]


def test_one_worker_at_a_time_sends_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker has the right, and the messages with it."""
    producer = make.quiet()
    producer.produce_sync("t", b"x")
    resending: Any = Resending(connection_of(producer))
    sent: list[str] = []
    monkeypatch.setattr(Resending, "_send_again", lambda _, report: sent.append(report))
    resending._refused, resending._right = ["first"], []  # noqa: SLF001
    resending._work()  # noqa: SLF001
    assert sent == []
