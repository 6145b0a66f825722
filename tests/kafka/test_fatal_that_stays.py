"""Fencing, timeouts and refused registrations, as a real coordinator answers them."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.kafka.harness import SCRAM_USER, KafkaCluster
from waterdrop_py import AbortTransaction, Producer, Status
from waterdrop_py.errors import BrokerUnreachableError, ProduceError
from waterdrop_py.testing import allow_short_idle_timeouts, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IDLE_MS = 200
TIMEOUT_MS = 1_000
LONGER = 2.0
OPEN: list[Consumer] = []
ALL_VERBS = ("transaction", "sync", "async", "many", "buffer", "count", "native")


@pytest.fixture(scope="module")
def quick() -> Iterator[KafkaCluster]:
    """A broker that aborts what has timed out soon, and checks ACLs of `alice`."""
    with closing(
        KafkaCluster(
            properties={
                "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",
                "authorizer.class.name": (
                    "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
                ),
                # Everybody on a listener without SASL, the brokers among them.
                "super.users": "User:ANONYMOUS",
            }
        ).start()
    ) as cluster:
        yield cluster


@pytest.fixture
def topic(quick: KafkaCluster) -> str:
    """A fresh topic with two partitions."""
    return quick.create_topic(f"fatal-{uuid.uuid4().hex[:12]}", 2)


def transactional(cluster: KafkaCluster, **options: Any) -> Producer:
    """A transactional producer that reloads soon."""
    kafka = {
        **cluster.client_properties(),
        "linger.ms": 0,
        "transactional.id": uuid.uuid4().hex,
        **options.pop("kafka", {}),
    }
    options.setdefault("wait_backoff_on_transaction_fatal_error", 10)
    with allow_short_idle_timeouts():
        return Producer(kafka=kafka, **options)


def payloads(cluster: KafkaCluster, topic: str) -> list[Any]:
    """What was committed, sorted."""
    return sorted(str(each.value()) for each in cluster.read_topic(topic))


def until_asleep(producer: Producer) -> None:
    """Wait until the client is closed."""
    deadline = time.monotonic() + 10
    while producer.status is not Status.DISCONNECTED:
        assert time.monotonic() < deadline, producer.explain_idle()
        time.sleep(0.01)


def verb(producer: Producer, topic: str, name: str) -> None:
    """One use of the producer."""
    message = {"topic": topic, "payload": b"zombie"}
    match name:
        case "transaction":
            with producer.transaction():
                producer.produce_async(topic, b"zombie")
        case "sync":
            producer.produce_sync(topic, b"zombie")
        case "async":
            producer.produce_async(topic, b"zombie")
        case "many":
            producer.produce_many_sync([message])
        case "buffer":
            producer.buffer(topic, b"zombie")
            try:
                producer.flush_buffer_sync()
            finally:
                producer.purge()
        case "count":
            producer.partition_count(topic)
        case _:
            with producer.native():
                pass


def test_a_zombie_that_rested_does_not_come_back(
    quick: KafkaCluster, topic: str
) -> None:
    """A is fenced by B and rests; nothing that A is asked to do then registers the id:
    each verb says `fenced`, and B goes on."""
    name = uuid.uuid4().hex
    with (
        transactional(
            quick, kafka={"transactional.id": name}, idle_disconnect_timeout=IDLE_MS
        ) as a,
        transactional(quick, kafka={"transactional.id": name}) as b,
    ):
        a.produce_sync(topic, b"a")
        with pytest.raises(ProduceError) as fenced, a.transaction():
            a.produce_sync(topic, b"lost")
            b.produce_sync(topic, b"b")
        assert fenced.value.code == "fenced"
        assert repr(name) in str(fenced.value)
        until_asleep(a)
        for each in ALL_VERBS:
            with pytest.raises(ProduceError) as caught:
                verb(a, topic, each)
            assert (caught.value.code, caught.value.fatal) == ("fenced", True), each
        with pytest.raises(BrokerUnreachableError, match="fenced"):
            a.connect(5)
        for deep in (False, True):
            assert not a.health(deep=deep).healthy
        b.produce_sync(topic, b"b2")
        assert a.stats().opens == 1
    assert payloads(quick, topic) == ["b'a'", "b'b'", "b'b2'"]


@pytest.fixture(autouse=True)
def consumers_are_closed() -> Iterator[None]:
    """Those that a step has opened, once its transaction has ended."""
    yield
    while OPEN:
        OPEN.pop().close()


def commit(_: Producer, __: KafkaCluster, ___: str) -> None:
    """Nothing more before the end of the block."""


def send_to_the_same(producer: Producer, _: KafkaCluster, topic: str) -> None:
    """The partition is part of the transaction already."""
    producer.produce_sync(topic, b"late", partition=0)


def send_to_another(producer: Producer, _: KafkaCluster, topic: str) -> None:
    """A partition that has to be added."""
    producer.produce_sync(topic, b"late", partition=1)


def send_and_leave(producer: Producer, _: KafkaCluster, topic: str) -> None:
    """Nobody waits for the report but the commit."""
    producer.produce_async(topic, b"late", partition=0)


def send_offsets(producer: Producer, cluster: KafkaCluster, topic: str) -> None:
    """Mark a message as consumed."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap("INTERNAL"),
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
        }
    )
    OPEN.append(consumer)  # until the commit: the positions are sent there
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(10)
    assert message is not None
    producer.mark_as_consumed(consumer, message)


STEPS = [commit, send_to_the_same, send_to_another, send_and_leave, send_offsets]


@pytest.mark.parametrize("step", STEPS)
def test_a_transaction_that_outlived_its_timeout(
    quick: KafkaCluster,
    topic: str,
    step: Callable[[Producer, KafkaCluster, str], None],
) -> None:
    """Whatever comes after the timeout: the error says that it was one, nothing of the
    transaction is visible, and the next one commits."""
    kafka = {"transaction.timeout.ms": TIMEOUT_MS, "message.timeout.ms": TIMEOUT_MS}
    with transactional(quick, kafka=kafka) as producer:
        producer.produce_sync(topic, b"before", partition=0)
        with record(producer.monitor) as events:
            with pytest.raises(ProduceError) as caught, producer.transaction():
                producer.produce_sync(topic, b"slow", partition=0)
                time.sleep(LONGER)
                step(producer, quick, topic)
            assert caught.value.code == "transaction_timed_out"
            assert f"transaction.timeout.ms is {TIMEOUT_MS} ms" in str(caught.value)
            producer.produce_sync(topic, b"after", partition=0)
        reloads = [e for e in events if e.name == "producer.reload"]
        assert [each["error"].code for each in reloads] == ["transaction_timed_out"]
    assert payloads(quick, topic) == ["b'after'", "b'before'"]


def test_the_abort_of_a_transaction_that_outlived_its_timeout(
    quick: KafkaCluster, topic: str
) -> None:
    """The coordinator has aborted it already: nothing is raised; the next commits."""
    kafka = {"transaction.timeout.ms": TIMEOUT_MS, "message.timeout.ms": TIMEOUT_MS}
    with transactional(quick, kafka=kafka) as producer:
        for _ in range(2):
            with producer.transaction():
                producer.produce_sync(topic, b"slow")
                time.sleep(LONGER)
                raise AbortTransaction
        producer.produce_sync(topic, b"after")
    assert payloads(quick, topic) == ["b'after'"]


def test_a_timeout_that_is_not_reloaded(quick: KafkaCluster, topic: str) -> None:
    """It stays, over a rest too: the id is not registered again."""
    with transactional(
        quick,
        kafka={"transaction.timeout.ms": TIMEOUT_MS, "message.timeout.ms": TIMEOUT_MS},
        non_reloadable_errors=("fenced", "transaction_timed_out"),
        idle_disconnect_timeout=IDLE_MS,
    ) as producer:
        with pytest.raises(ProduceError), producer.transaction():
            producer.produce_sync(topic, b"slow")
            time.sleep(LONGER)
        until_asleep(producer)
        for each in ALL_VERBS:
            with pytest.raises(ProduceError) as caught:
                verb(producer, topic, each)
            assert caught.value.code == "transaction_timed_out", each
        assert producer.stats().opens == 1


def test_a_timeout_above_the_brokers_limit(quick: KafkaCluster, topic: str) -> None:
    """Every verb, and `connect()`, name both settings."""
    with transactional(quick, kafka={"transaction.timeout.ms": 1_000_000}) as producer:
        for each in ALL_VERBS:
            with pytest.raises(ProduceError) as caught:
                verb(producer, topic, each)
            assert caught.value.code == "invalid_transaction_timeout", each
            assert "transaction.timeout.ms is 1000000 ms" in str(caught.value)
            assert "transaction.max.timeout.ms" in str(caught.value)
        started = time.monotonic()
        with pytest.raises(BrokerUnreachableError, match="invalid_transaction_timeout"):
            producer.connect(20)
        assert time.monotonic() - started < 5


def allow(
    cluster: KafkaCluster, kind: ResourceType, name: str, *operations: AclOperation
) -> None:
    """Give `alice` ACLs, and wait until they are in force."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap("INTERNAL")})
    acls = [
        AclBinding(
            kind,
            name,
            ResourcePatternType.LITERAL,
            f"User:{SCRAM_USER}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for operation in operations
    ]
    for future in admin.create_acls(acls).values():
        future.result(10)
    time.sleep(0.5)


def test_a_principal_without_the_acl_of_its_id(quick: KafkaCluster, topic: str) -> None:
    """Every verb, and `connect()`, name the ACL; once it is granted the producer works,
    without a restart."""
    name = f"payments-{uuid.uuid4().hex}"
    allow(quick, ResourceType.TOPIC, topic, AclOperation.WRITE, AclOperation.DESCRIBE)
    kafka = {**quick.client_properties("SASL_SSL"), "transactional.id": name}
    with transactional(quick, kafka=kafka) as producer:
        for each in ALL_VERBS:
            with pytest.raises(ProduceError) as caught:
                verb(producer, topic, each)
            assert caught.value.code == "transactional_id_authorization_failed", each
            assert f"TransactionalId {name!r}" in str(caught.value)
        started = time.monotonic()
        with pytest.raises(BrokerUnreachableError, match="authorization_failed"):
            producer.connect(20)
        assert time.monotonic() - started < 5
        allow(
            quick,
            ResourceType.TRANSACTIONAL_ID,
            name,
            AclOperation.WRITE,
            AclOperation.DESCRIBE,
        )
        producer.produce_sync(topic, b"granted")
    assert payloads(quick, topic) == ["b'granted'"]


def test_a_principal_without_the_acl_of_the_topic(
    quick: KafkaCluster, topic: str
) -> None:
    """Each message says what to change, also before brokers of 3.0, which refuse the
    producer id to an idempotent principal that may write to no topic."""
    kafka = {
        **quick.client_properties("SASL_SSL"),
        "linger.ms": 0,
        "enable.idempotence": True,
    }
    with Producer(kafka=kafka) as producer:
        for _ in range(2):
            with pytest.raises(ProduceError) as caught:
                producer.produce_sync(topic, b"x")
            assert "authorization_failed" in caught.value.code
            assert "ACL" in str(caught.value)
