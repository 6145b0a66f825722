"""What a transaction does with each kind of Kafka's errors."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, eventually, in_threads
from waterdrop_py import Status
from waterdrop_py._engine.process.resources import ResourceCount, count_resources
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import Producer
    from waterdrop_py.testing import EmbeddedCluster

    Make = Callable[..., Producer]

FAST = {
    "wait_backoff_on_transaction_command": 10,
    "wait_backoff_on_transaction_fatal_error": 10,
}


@pytest.fixture
def make(make_producer: MakeProducer) -> Make:
    """Builds transactional producers that do not wait long before they try again."""

    def make(**options: Any) -> Producer:
        kafka = {"transactional.id": uuid.uuid4().hex, **options.pop("kafka", {})}
        return make_producer(kafka=kafka, **{**FAST, **options})

    return make


def fail_commit(producer: Producer, topic: str) -> ProduceError:
    """The error of a transaction that cannot be committed."""
    with pytest.raises(ProduceError) as caught, producer.transaction():
        producer.produce_async(topic, b"x")
    return caught.value


def test_an_abortable_error_aborts_once(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """The original error is raised, with one abort; the client stays."""
    producer = make()
    producer.connect()
    cluster.push_errors("AddPartitionsToTxn", "topic_authorization_failed")
    error = fail_commit(producer, topic)
    assert error.code == "topic_authorization_failed"
    assert not error.fatal
    assert error.__cause__ is not None
    assert log.names("transaction.") == ["transaction.started", "transaction.aborted"]
    (told,) = log.errors("transaction.commit")
    assert (told["attempt"], told["retry"]) == (1, False)
    assert not log.errors("transaction.abort")
    producer.produce_sync(topic, b"after")
    assert not log.all("producer.reload")


def test_a_fatal_error_reloads_once(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """One reload, no abort on either client, the error raised; the next one works."""
    producer = make()
    producer.connect()
    cluster.push_errors("EndTxn", "invalid_txn_state")
    error = fail_commit(producer, topic)
    assert (error.code, error.fatal) == ("invalid_txn_state", True)
    assert [e["attempt"] for e in log.all("producer.reload")] == [1]
    assert [e["attempt"] for e in log.all("producer.reloaded")] == [1]
    assert not log.all("transaction.aborted")
    assert not log.errors("transaction.abort")
    assert producer.stats().disconnects == {"reload": 1}
    assert producer.status is Status.DISCONNECTED
    producer.produce_sync(topic, b"after")


def test_a_fatal_error_of_the_abort_reloads_once(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """The user's exception is the one that comes out."""
    producer = make()
    producer.connect()
    cluster.push_errors("EndTxn", "invalid_txn_state")
    mine = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, producer.transaction():
        producer.produce_sync(topic, b"x")
        raise mine
    assert caught.value is mine
    assert len(log.all("producer.reloaded")) == 1
    assert len(log.errors("transaction.abort")) == 1
    producer.produce_sync(topic, b"after")


def test_reloads_are_capped_and_counted_afresh_by_a_commit(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """After `max_attempts` without a commit between the client stays lost."""
    producer = make(max_attempts_on_transaction_fatal_error=2)
    producer.connect()
    for expected in ([1], [1, 1]):
        cluster.push_errors("EndTxn", "invalid_txn_state")
        fail_commit(producer, topic)
        producer.produce_sync(topic, b"between")
        assert [e["attempt"] for e in log.all("producer.reload")] == expected
    for _ in range(2):
        cluster.push_errors("EndTxn", "invalid_txn_state")
        fail_commit(producer, topic)
    assert [e["attempt"] for e in log.all("producer.reload")] == [1, 1, 1, 2]
    cluster.push_errors("EndTxn", "invalid_txn_state")
    for _ in range(2):
        assert fail_commit(producer, topic).code == "invalid_txn_state"
    assert len(log.all("producer.reload")) == 4
    assert not producer.health().healthy
    assert producer.close(5).complete


@pytest.mark.timed
def test_without_reload_the_client_stays_lost(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """Every use says why; no reload is told; close returns in time."""
    producer = make(reload_on_transaction_fatal_error=False)
    producer.connect()
    cluster.push_errors("EndTxn", "invalid_txn_state")
    for _ in range(3):
        error = fail_commit(producer, topic)
        assert (error.code, error.fatal) == ("invalid_txn_state", True)
    assert producer.stats().opens == 1
    assert not log.names("producer.reload")
    started = time.monotonic()
    producer.close(5)
    assert time.monotonic() - started < 2


def test_fenced_is_not_reloaded(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """A producer that was replaced by a newer one does not fight back."""
    producer = make()
    producer.connect()
    cluster.push_errors("EndTxn", "producer_fenced")
    for _ in range(2):
        assert fail_commit(producer, topic).code == "fenced"
    assert not log.names("producer.reload")
    assert producer.stats().opens == 1


@pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")
def test_a_reload_may_change_the_configuration(
    make: Make, cluster: EmbeddedCluster, topic: str
) -> None:
    """What a subscriber leaves in the event's `kafka` is what the new client gets; the
    copy shows no secret, and the producer's own configuration stays."""
    producer = make(
        non_reloadable_errors=(),
        kafka={"transactional.id": "old", "ssl.key.password": "geheim"},
    )
    producer.connect()
    shown: list[str] = []

    @producer.monitor.on("producer.reload")
    def change(event: Any) -> None:
        shown.append(repr(event["kafka"]) + repr(event.payload))
        event["kafka"]["transactional.id"] = "new"

    cluster.push_errors("EndTxn", "producer_fenced")
    assert fail_commit(producer, topic).code == "fenced"
    producer.produce_sync(topic, b"after")
    assert "geheim" not in shown[0]
    assert producer._connection.factory.kafka["transactional.id"] == "new"  # noqa: SLF001
    assert producer.config.kafka["transactional.id"] == "old"


def test_a_reload_takes_nothing_that_is_misread(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """What librdkafka would misread is an event, and the old configuration stays."""
    producer = make(non_reloadable_errors=(), kafka={"transactional.id": "old"})
    producer.connect()

    @producer.monitor.on("producer.reload")
    def change(event: Any) -> None:
        event["kafka"]["transaction.timeout.ms"] = "30s"

    cluster.push_errors("EndTxn", "producer_fenced")
    assert fail_commit(producer, topic).code == "fenced"
    producer.produce_sync(topic, b"after")
    assert "transaction.timeout.ms" not in producer._connection.factory.kafka  # noqa: SLF001
    said = [str(e["error"]) for e in log.all("error.occurred")]
    assert any("did you mean 30000?" in each for each in said)


def test_a_slow_coordinator_is_waited_for(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """A commit that takes longer than one native call goes on where it was."""
    producer = make()
    producer.connect()
    with producer.transaction():
        producer.produce_sync(topic, b"x")
        cluster.set_rtt(1200)
    assert len(log.all("transaction.committed")) == 1
    assert not log.all("error.occurred")


def test_a_refused_message_aborts_and_the_producer_goes_on(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """The next transaction gets a client of its own: librdkafka would lose it."""
    producer = make()
    producer.connect()
    cluster.push_errors("Produce", "msg_size_too_large")
    assert fail_commit(producer, topic).code == "msg_size_too_large"
    producer.produce_sync(topic, b"after")
    assert producer.stats().opens == 2
    assert not log.names("producer.reload")


def test_another_producers_fatal_error_is_only_an_exception(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """It aborts the transaction it passes through, and reloads no other producer."""
    outer, inner = make(id="outer"), make(id="inner")
    inner.connect()
    outer.connect()
    with pytest.raises(ProduceError) as caught, outer.transaction():
        outer.produce_sync(topic, b"x")
        cluster.push_errors("EndTxn", "invalid_txn_state")
        inner.produce_sync(topic, b"x")
    assert caught.value.fatal
    assert [e["producer_id"] for e in log.all("producer.reload")] == ["inner"]
    assert [e["producer_id"] for e in log.all("transaction.aborted")] == ["outer"]


# -- a cluster that is away -------------------------------------------------------


def given_back(before: ResourceCount | None) -> bool:
    """No thread of librdkafka, and no more descriptors than before."""
    now = count_resources()
    assert now is not None
    assert before is not None
    return now.threads == 0 and now.fds <= before.fds


@pytest.mark.timed
@pytest.mark.own_process
def test_a_failed_introduction_leaves_nothing(
    make_producer: MakeProducer, dead: str
) -> None:
    """With no broker `init_transactions` fails within the send's bound; threads and
    descriptors are given back, and the next use tries again."""
    assert eventually(lambda: count_resources().threads == 0)  # type: ignore[union-attr]
    before = count_resources()
    producer = make_producer(dead, kafka={"transactional.id": "x"})
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(ProduceError):
            producer.produce_sync("topic", b"x", timeout=0.7)
        assert 0.5 < time.monotonic() - started < 2
        assert producer.status in {Status.CONFIGURED, Status.DISCONNECTED}
        assert eventually(lambda: given_back(before))


def test_a_failed_introduction_does_not_hold_up_others(
    make_producer: MakeProducer, dead: str
) -> None:
    """Several threads at once each fail within their own bound."""
    producer = make_producer(dead, kafka={"transactional.id": "x"})

    def send(_: int) -> None:
        producer.produce_sync("topic", b"x", timeout=0.5)

    started = time.monotonic()
    raised = in_threads(4, send)
    assert len(raised) == 4
    assert all(isinstance(error, ProduceError) for error in raised)
    assert time.monotonic() - started < 3


@pytest.mark.timed
def test_every_broker_down_inside_a_transaction(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """Neither commit nor abort gets through: the bounded send says so in time, and the
    producer works again as soon as the cluster does."""
    producer = make(max_attempts_on_transaction_command=1)
    producer.produce_sync(topic, b"before")
    for broker in (1, 2, 3):
        cluster.broker_down(broker)
    started = time.monotonic()
    with pytest.raises(ProduceError):
        producer.produce_sync(topic, b"x", timeout=0.5)
    assert time.monotonic() - started < 2
    cluster.heal()
    assert producer.produce_sync(topic, b"after", timeout=BOUND).error is None
    assert not log.errors("producer.close.abandoned")
