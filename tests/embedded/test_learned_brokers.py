"""A client that is opened again knows the brokers that the one before it learned."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.embedded.support import eventually, refusing
from waterdrop_py import Status
from waterdrop_py.errors import WaterdropError
from waterdrop_py.testing import trigger_fatal_error

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import Event, Producer
    from waterdrop_py.testing import EmbeddedCluster

IDLE_MS = 300
MESSAGE_MS = 6_000


class Spy:
    """A client factory that keeps what it is given, and whose clients count questions.

    Attributes:
        servers: `bootstrap.servers` of each client.
        asked: topic and timeout of each question for metadata.
        answer: changes an answer before the library sees it.
    """

    def __init__(self) -> None:
        self.servers: list[str] = []
        self.asked: list[tuple[str | None, float]] = []
        self.answer: Any = lambda metadata: metadata

    def __call__(self, conf: dict[str, Any]) -> confluent_kafka.Producer:
        """Build a client."""
        spy = self

        class Client(confluent_kafka.Producer):
            def list_topics(self, topic: Any = None, timeout: float = -1) -> Any:
                spy.asked.append((topic, timeout))
                return spy.answer(super().list_topics(topic, timeout=timeout))

        self.servers.append(conf["bootstrap.servers"])
        return Client(conf)


def first_of(cluster: EmbeddedCluster) -> str:
    """The address of broker 1."""
    return cluster.bootstrap_servers.split(",")[0]


def learned(producer: Producer) -> tuple[str, ...]:
    """What the next client will be offered."""
    return producer._connection.factory.brokers.servers  # noqa: SLF001 - said by no one else


def rest(producer: Producer) -> None:
    """Wait until what there is to learn is learned, and the client is closed."""
    assert eventually(lambda: bool(learned(producer))), "nothing was learned"
    assert eventually(lambda: producer.status is Status.DISCONNECTED)


def test_each_broker_may_be_away_at_a_wake_up(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer
) -> None:
    """`bootstrap.servers` names one of three; whichever is down as the producer wakes
    up, the message to another one arrives."""
    producer = make_producer(
        first_of(cluster),
        idle_disconnect_timeout=IDLE_MS,
        kafka={"message.timeout.ms": MESSAGE_MS},
    )
    producer.produce_sync(topic, b"before", partition=0)
    for down in (1, 2, 3):
        rest(producer)
        cluster.broker_down(down)
        led_by_the_next = down % 3  # partition n is led by broker n + 1
        producer.produce_sync(topic, b"x", partition=led_by_the_next)
        cluster.broker_up(down)
    assert producer.stats().opens == 4


@pytest.mark.parametrize("way", ["disconnect", "age", "reload"])
def test_however_the_client_went(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer, way: str
) -> None:
    """`disconnect()`, `max_connection_age` and a reload keep them as idleness does."""
    spy = Spy()
    producer = make_producer(
        first_of(cluster),
        max_connection_age=IDLE_MS if way == "age" else 0,
        kafka={"enable.idempotence": way == "reload"},
        reload_on_idempotent_fatal_error=True,
        wait_backoff_on_idempotent_fatal_error=0,
        client_factory=spy,
    )
    producer.produce_sync(topic, b"x")
    assert eventually(lambda: bool(learned(producer)))
    if way == "disconnect":
        assert eventually(producer.disconnect)
    elif way == "age":
        assert eventually(lambda: producer.status is Status.DISCONNECTED)
    else:
        trigger_fatal_error(producer, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "boom")
    producer.produce_sync(topic, b"y")
    assert spy.servers[0] == first_of(cluster)
    assert spy.servers[1].startswith(f"{first_of(cluster)},")
    assert set(spy.servers[1].split(",")) == set(cluster.bootstrap_servers.split(","))


def test_a_client_is_asked_once(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer
) -> None:
    """After its first report, for the topic of a message; nothing without a report."""
    spy = Spy()
    producer = make_producer(client_factory=spy)
    with producer.native():
        pass
    time.sleep(0.1)
    assert spy.asked == []
    for _ in range(20):
        producer.produce_sync(topic, b"x")
    assert eventually(lambda: bool(learned(producer)))
    producer.produce_async(topic, b"x").result(5)
    time.sleep(0.1)
    assert [asked for asked, _ in spy.asked] == [topic]
    assert eventually(producer.disconnect)
    producer.produce_async(topic, b"x").result(5)
    assert eventually(lambda: len(spy.asked) == 2)


def test_a_client_that_stays_open_is_asked_again(
    cluster: EmbeddedCluster,
    topic: str,
    make_producer: MakeProducer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every five minutes while it is used, so that its successor knows the brokers of
    then; a failed question is repeated sooner."""
    monkeypatch.setattr("waterdrop_py._engine.connection.metadata_request.EVERY", 0.05)
    monkeypatch.setattr("waterdrop_py._engine.connection.discovery.AGAIN", 0.05)
    spy = Spy()

    def fail(_: Any) -> Any:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))  # noqa: SLF001

    spy.answer = fail
    producer = make_producer(client_factory=spy)

    def asked(count: int) -> bool:
        producer.produce_sync(topic, b"x")
        return len(spy.asked) >= count

    assert eventually(lambda: asked(2))
    assert learned(producer) == ()
    spy.answer = lambda metadata: metadata
    assert eventually(lambda: asked(4))
    assert len(learned(producer)) == 3


def test_the_users_own_are_what_is_shown(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer, log: EventLog
) -> None:
    """`config.kafka`, `producer.reload` and checklists know nothing of them, and a
    subscriber that changes `bootstrap.servers` leaves none of the old."""
    spy = Spy()
    producer = make_producer(
        first_of(cluster),
        kafka={"enable.idempotence": True},
        reload_on_idempotent_fatal_error=True,
        wait_backoff_on_idempotent_fatal_error=0,
        client_factory=spy,
    )
    others = cluster.bootstrap_servers.split(",")[1]
    producer.produce_sync(topic, b"x")
    assert eventually(lambda: bool(learned(producer)))

    @producer.monitor.on("producer.reload")
    def change(event: Event) -> None:
        seen.append(event["kafka"]["bootstrap.servers"])
        event["kafka"]["bootstrap.servers"] = others

    seen: list[str] = []
    trigger_fatal_error(producer, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "boom")
    producer.produce_sync(topic, b"y")
    assert seen == [first_of(cluster)]
    assert producer.config.kafka["bootstrap.servers"] == first_of(cluster)
    assert spy.servers == [first_of(cluster), others]
    checklist = producer._connection.reports.checklist()  # noqa: SLF001 - of a dead cluster
    assert first_of(cluster) in checklist[-1]
    assert cluster.bootstrap_servers.split(",")[2] not in checklist[-1]


def test_a_variants_client_knows_them_too(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer
) -> None:
    """It is of the same producer; its very first client is offered what is known."""
    spy = Spy()
    producer = make_producer(first_of(cluster), client_factory=spy)
    producer.produce_sync(topic, b"x")
    assert eventually(lambda: bool(learned(producer)))
    producer.variant(topic_config={"acks": 1}).produce_sync(topic, b"x")
    assert len(spy.servers[1].split(",")) == 3


def test_another_cluster_is_told_of(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer, log: EventLog
) -> None:
    """The address of a broker may be a stranger's by now: what was learned is cleared,
    that client is not asked again, and the next one starts from the user's servers."""
    spy = Spy()
    producer = make_producer(first_of(cluster), client_factory=spy)
    producer.produce_sync(topic, b"x")
    assert eventually(lambda: bool(learned(producer)))
    assert eventually(producer.disconnect)

    def strange(metadata: Any) -> Any:
        metadata.cluster_id = "another"
        return metadata

    spy.answer = strange
    producer.produce_sync(topic, b"x")
    told = log.wait_error("librdkafka.error")["error"]
    assert isinstance(told, WaterdropError)
    assert "'another' answered" in str(told)
    assert learned(producer) == ()
    assert eventually(producer.disconnect)
    producer.produce_sync(topic, b"x")
    assert spy.servers[2] == first_of(cluster)
    assert eventually(lambda: bool(learned(producer)))
    assert len(log.errors("librdkafka.error")) == 1


@pytest.mark.timed
def test_a_slow_answer_delays_no_idle_close(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer, log: EventLog
) -> None:
    """The question ends before the client falls due, and neither keeps it open nor is
    a reason against its close."""
    spy = Spy()
    hanging = threading.Event()

    def hang(metadata: Any) -> Any:
        hanging.wait(max(0.0, spy.asked[-1][1]))
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001

    spy.answer = hang
    producer = make_producer(client_factory=spy, idle_disconnect_timeout=IDLE_MS)
    producer.produce_sync(topic, b"x")
    log.wait("producer.disconnected")
    (closed,) = log.all("producer.disconnected")
    assert closed["reason"] == "idle"
    assert IDLE_MS <= closed["idle_ms"] < IDLE_MS + 100 + 100  # a loaded machine
    assert (closed.duration_ms or 0) < 100 + 100
    assert not log.all("producer.disconnect_refused")
    assert spy.asked[0][1] <= IDLE_MS / 1000


@pytest.mark.timed
def test_stale_ones_cost_little(
    cluster: EmbeddedCluster, topic: str, make_producer: MakeProducer
) -> None:
    """All that was learned is gone, the user's own is there: nothing is lost, and the
    message arrives within a second."""
    with ExitStack() as stack:
        stale = [stack.enter_context(refusing()) for _ in range(3)]
        producer = make_producer(first_of(cluster))
        producer._connection.factory.brokers.servers = tuple(stale)  # noqa: SLF001
        started = time.monotonic()
        producer.produce_sync(topic, b"x", partition=0)
        assert time.monotonic() - started < 1
