"""An idle client is destroyed, on time and whole, and the next send is back at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, eventually
from waterdrop_py import Status
from waterdrop_py._engine.process.resources import ResourceCount, count_resources

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import Producer
    from waterdrop_py.testing import DroppingProxy, EmbeddedCluster

# A freshly opened client goes on connecting to brokers for a moment.
LEADERS = range(3)


def settled() -> ResourceCount:
    """What this process holds once the clients of earlier tests are really gone."""
    assert eventually(lambda: count_resources().threads == 0)  # type: ignore[union-attr]
    census = count_resources()
    assert census is not None
    return census


def codes(producer: Producer) -> list[str]:
    """Why it is not due for an idle disconnect."""
    return [reason.code for reason in producer.explain_idle().reasons]


@pytest.mark.timed
def test_never_early_and_hardly_late(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Closed at least the timeout after the last report, and soon after that."""
    producer = make_producer(idle_disconnect_timeout=100)
    for round_ in range(1, 6):
        producer.produce_sync(topic, b"x")
        event = log.wait("producer.disconnected", round_)
        assert event["reason"] == "idle"
        assert event["idle_ms"] >= 100
        gone = log.times("producer.disconnecting")[round_ - 1]
        idle_s = gone - log.times("message.acknowledged")[round_ - 1]
        assert 0.1 <= idle_s < 2
        assert producer.status is Status.DISCONNECTED


@pytest.mark.own_process
def test_everything_is_given_back(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """No socket, no librdkafka thread, descriptors as before; and the event says so."""
    before = settled()
    producer = make_producer(idle_disconnect_timeout=500)
    for partition in LEADERS:
        producer.produce_sync(topic, b"x", partition=partition)

    def holds_all() -> bool:
        held = count_resources()
        assert held is not None
        return held.sockets >= before.sockets + 3 and held.threads >= 5

    assert eventually(holds_all)  # a new thread names itself as it begins
    event = log.wait("producer.disconnected")
    assert count_resources() == before
    released = event["released"]
    assert released["sockets"] >= 3
    assert released["threads"] >= 5
    assert released["fds"] >= 3
    assert event["messages"] == 3
    assert event["connected_ms"] >= event["idle_ms"] >= 500
    assert event["time"] < 1_000


def test_no_connection_attempt_until_the_next_send(
    make_producer: MakeProducer, proxy: DroppingProxy, topic: str, log: EventLog
) -> None:
    """Nothing knocks while it is away; looking at it is no use of it."""
    producer = make_producer(proxy.bootstrap_servers, idle_disconnect_timeout=50)
    producer.produce_sync(topic, b"x")
    log.wait("producer.disconnected")
    assert proxy.open == 0
    accepted = proxy.accepted
    until = time.monotonic() + 1
    while time.monotonic() < until:
        look_at(producer)
        assert (proxy.open, proxy.accepted) == (0, accepted)
        time.sleep(0.02)
    assert producer.flush() == 0
    assert not producer.is_connected
    producer.produce_sync(topic, b"y")
    assert proxy.accepted > accepted
    assert log.wait("producer.connected", 2)["reopened"] is True


def look_at(producer: Producer) -> None:
    """All that is no activity."""
    producer.stats()
    producer.health()
    producer.explain_idle()
    assert repr(producer)
    assert len(producer) == producer.queue_size == 0
    assert bool(producer)
    assert str(producer.status)


@pytest.mark.timed
def test_being_looked_at_is_no_activity(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Statistics every 20 ms and somebody who asks all the time: closed on time."""
    seen: list[Any] = []
    producer = make_producer(
        idle_disconnect_timeout=400,
        kafka={"statistics.interval.ms": 20, "stats_cb": seen.append},
    )
    producer.produce_sync(topic, b"x")
    until = time.monotonic() + BOUND
    while not log.all("producer.disconnected"):
        assert time.monotonic() < until
        look_at(producer)
        producer.flush(0)
        time.sleep(0.005)
    gone, came = log.times("producer.disconnecting"), log.times("message.acknowledged")
    assert 0.4 <= gone[0] - came[0] < 2


def test_sends_keep_it_open(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Messages for more than two timeouts: the one client serves them all."""
    producer = make_producer(idle_disconnect_timeout=1_000)
    until = time.monotonic() + 2.2
    while time.monotonic() < until:
        producer.produce_sync(topic, b"x")
        time.sleep(0.1)
    assert not log.all("producer.disconnected")
    assert producer.stats().opens == 1
    log.wait("producer.disconnected")


@pytest.mark.timed
def test_connect_is_activity(make_producer: MakeProducer, log: EventLog) -> None:
    """A client that was opened ahead is closed too, one timeout later."""
    started = time.monotonic()
    make_producer(idle_disconnect_timeout=200).connect()
    connected = time.monotonic()
    event = log.wait("producer.disconnected")
    assert event["messages"] == 0
    assert event["idle_ms"] >= 200
    gone = log.times("producer.disconnecting")[0]
    assert gone - started >= 0.2
    assert gone - connected < 2


@pytest.mark.timed
def test_a_client_with_work_is_not_closed(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Refused once, with the reason; the deadline starts again from the report."""
    producer = make_producer(idle_disconnect_timeout=500)
    producer.produce_sync(topic, b"warm", partition=0)
    cluster.set_rtt(1_200)
    handle = producer.produce_async(topic, b"slow", partition=0)
    event = log.wait("producer.disconnect_refused")
    assert (event["reason"], event["count"]) == ("in_flight", 1)
    assert event["age_ms"] >= 500
    assert handle.result(BOUND).error is None
    log.wait("producer.disconnected")
    idle = log.times("producer.disconnecting")[0] - log.times("message.acknowledged")[1]
    assert 0.5 <= idle < 2
    reasons = [each["reason"] for each in log.all("producer.disconnect_refused")]
    assert reasons.count("in_flight") == 1


@pytest.mark.timed
@pytest.mark.own_process
def test_disconnect_on_demand(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """True when it was closed; False without a client, with work, or when closed."""
    producer = make_producer()
    assert producer.disconnect() is False
    producer.produce_sync(topic, b"x", partition=0)
    cluster.set_rtt(1_200)
    handle = producer.produce_async(topic, b"slow", partition=0)
    started = time.monotonic()
    assert producer.disconnect() is False
    assert time.monotonic() - started < 1
    assert not handle.done()
    assert producer.is_connected
    handle.result(BOUND)
    assert producer.disconnect() is True
    assert count_resources().threads == 0  # type: ignore[union-attr]
    assert log.wait("producer.disconnected")["reason"] == "requested"
    assert producer.disconnect() is False
    producer.close()
    assert producer.disconnect() is False


def test_explain_idle_counts_what_a_user_of_the_client_sent(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """`disconnect()` would refuse, so it says so; and it keeps nothing for itself."""
    producer = make_producer(idle_disconnect_timeout=60_000)
    producer.produce_sync(topic, b"x")
    cluster.set_rtt(400)
    delivered: list[object] = []
    with producer.native() as client:
        client.produce(
            topic, value=b"theirs", on_delivery=lambda *_: delivered.append(1)
        )
    report = producer.explain_idle()
    assert not report.disconnectable
    assert {each.code: each.count for each in report.reasons}["in_flight"] == 1
    assert not producer.disconnect()
    # From inside its callback on: librdkafka counts the message until that returns.
    assert eventually(lambda: bool(delivered))
    assert eventually(lambda: producer.explain_idle().disconnectable)
    assert eventually(producer.disconnect)


def test_explain_idle_names_every_reason(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """Codes, counts, and the milliseconds left."""
    producer = make_producer(idle_disconnect_timeout=60_000)
    assert codes(producer) == ["not_connected"]
    producer.produce_sync(topic, b"x")
    report = producer.explain_idle()
    assert codes(producer) == ["not_due"]
    assert report.disconnectable
    assert report.due_in_ms is not None
    assert 50_000 < report.due_in_ms <= 60_000
    cluster.set_rtt(400)
    handle = producer.produce_async(topic, b"slow")
    busy = producer.explain_idle()
    assert not busy.disconnectable
    assert {reason.code: reason.count for reason in busy.reasons}["in_flight"] == 1
    handle.result(BOUND)
    assert producer.explain_idle().disconnectable
    never = make_producer()
    never.produce_sync(topic, b"x")
    assert codes(never) == ["disabled"]
    assert never.explain_idle().due_in_ms is None
    never.close()
    assert codes(never) == ["closed"]


def test_a_client_that_is_too_old_is_replaced(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """max_connection_age, under steady traffic: nothing is lost."""
    producer = make_producer(max_connection_age=150)
    sent = 0
    started = time.monotonic()
    while len(log.all("producer.disconnected")) < 3:
        assert time.monotonic() - started < BOUND
        producer.produce_sync(topic, b"%d" % sent)
        sent += 1
    assert {each["reason"] for each in log.all("producer.disconnected")} == {"age"}
    assert all(e["connected_ms"] >= 150 for e in log.all("producer.disconnected"))
    assert len(cluster.read(topic)) == sent


@pytest.mark.timed
@pytest.mark.parametrize("verb", ["produce_sync", "produce_async"])
def test_flows_lost_while_idle_cost_nothing(
    make_producer: MakeProducer,
    proxy: DroppingProxy,
    topic: str,
    log: EventLog,
    verb: str,
) -> None:
    """A NAT forgot the connections meanwhile: the first message is there at once."""
    producer = make_producer(proxy.bootstrap_servers, idle_disconnect_timeout=1_000)
    producer.produce_sync(topic, b"before")
    assert proxy.black_hole() > 0
    log.wait("producer.disconnected")
    started = time.monotonic()
    outcome = getattr(producer, verb)(topic, b"after")
    report = outcome if verb == "produce_sync" else outcome.result(BOUND)
    assert report.error is None
    assert time.monotonic() - started < 1


@pytest.mark.own_process
def test_many_due_together_are_all_closed(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Twenty producers, no socket left, none early, each told of once."""
    before = settled()
    producers = [make_producer(idle_disconnect_timeout=300) for _ in range(20)]
    for producer in producers:
        producer.produce_async(topic, b"x")
    for producer in producers:
        assert producer.flush(BOUND) == 0
    log.wait("producer.disconnected", 20)
    assert count_resources() == before
    gone = log.all("producer.disconnected")
    assert {event["producer_id"] for event in gone} == {each.id for each in producers}
    assert all(event["idle_ms"] >= 300 for event in gone)
    counted = [event["released"] for event in gone if event["released"]]
    assert all(each["threads"] >= 0 for each in counted)


@pytest.mark.timed
def test_the_native_client_is_pinned_while_it_is_lent(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Refused once while it is used, and closed at once when it is given back."""
    producer = make_producer(idle_disconnect_timeout=1_000)
    with producer.native() as client:
        assert topic in client.list_topics(timeout=BOUND).topics
        event = log.wait("producer.disconnect_refused")
        assert event["reason"] in {"call", "pinned"}
        assert not producer.disconnect()
        assert not producer.explain_idle().disconnectable
        assert not log.all("producer.disconnected")
    given_back = time.monotonic()
    assert log.wait("producer.disconnected")["reason"] == "idle"
    assert log.times("producer.disconnecting")[0] - given_back < 0.8
