"""A fatal error that is not reloaded outlives its client; a timeout is no takeover."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from tests.embedded.support import eventually
from waterdrop_py import AbortTransaction, Status
from waterdrop_py.errors import BrokerUnreachableError, ProduceError
from waterdrop_py.testing import trigger_fatal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import Producer
    from waterdrop_py.testing import EmbeddedCluster

FENCED = KafkaError._FENCED  # noqa: SLF001 - librdkafka's name
SEQUENCE = KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER
IDLE_MS = 200
FAST = {
    "wait_backoff_on_transaction_command": 10,
    "wait_backoff_on_transaction_fatal_error": 10,
    "wait_backoff_on_idempotent_fatal_error": 10,
}


def transactional(make_producer: MakeProducer, **options: Any) -> Producer:
    """A transactional producer that does not wait long before it tries again."""
    kafka = {"transactional.id": f"tx-{uuid.uuid4().hex}", **options.pop("kafka", {})}
    return make_producer(kafka=kafka, **{**FAST, **options})


def transaction(producer: Producer, topic: str) -> None:
    """One transaction with one message."""
    with producer.transaction():
        producer.produce_async(topic, b"x")


def native(producer: Producer) -> None:
    """Take the client."""
    with producer.native():
        pass


def buffered(flush: Callable[[Producer], object]) -> Callable[[Producer, str], object]:
    """A flush of a buffer with one message."""

    def call(producer: Producer, topic: str) -> object:
        if not producer.buffer_size:
            producer.buffer(topic, b"x")
        return flush(producer)

    return call


SENDS: dict[str, Callable[[Producer, str], object]] = {
    "produce_sync": lambda p, topic: p.produce_sync(topic, b"x"),
    "produce_async": lambda p, topic: p.produce_async(topic, b"x"),
    "many_sync": lambda p, topic: p.produce_many_sync([m(topic)]),
    "many_async": lambda p, topic: p.produce_many_async([m(topic)]),
    "tombstone": lambda p, topic: p.tombstone_sync(topic, key=b"k"),
    "flush": buffered(lambda p: p.flush(5)),
    "flush_buffer_sync": buffered(lambda p: p.flush_buffer_sync()),
    "flush_buffer_async": buffered(lambda p: p.flush_buffer_async()),
    "variant": lambda p, topic: p.variant(max_wait_timeout=5000).produce_sync(
        topic, b"x"
    ),
}
OTHERS: dict[str, Callable[[Producer, str], object]] = {
    "partition_count": lambda p, topic: p.partition_count(topic),
    "native": lambda p, _: native(p),
}
TRANSACTION: dict[str, Callable[[Producer, str], object]] = {"transaction": transaction}


def m(topic: str) -> dict[str, Any]:
    """A message as a mapping."""
    return {"topic": topic, "payload": b"x"}


def assert_every_verb_says(
    producer: Producer,
    topic: str,
    code: str,
    verbs: dict[str, Callable[[Producer, str], object]],
) -> None:
    """Each raises a `ProduceError` of that code, `connect` that it cannot."""
    for name, verb in verbs.items():
        with pytest.raises(ProduceError) as caught:
            verb(producer, topic)
        assert (caught.value.code, caught.value.fatal) == (code, True), name
    with pytest.raises(BrokerUnreachableError, match=code):
        producer.connect(5)


def assert_unhealthy(producer: Producer, code: str) -> None:
    """Shallow and deep, with the error."""
    for deep in (False, True):
        health = producer.health(deep=deep)
        assert not health.healthy
        assert isinstance(health.error, ProduceError)
        assert health.error.code == code


def until_gone(producer: Producer) -> None:
    """Wait until its client is closed."""
    assert eventually(lambda: producer.status is Status.DISCONNECTED)


@pytest.mark.parametrize("met", [True, False], ids=["met", "not met"])
@pytest.mark.parametrize("way", ["open", "idle", "age", "requested", "fork"])
def test_a_fenced_producer_stays_fenced(
    make_producer: MakeProducer, topic: str, way: str, met: bool
) -> None:
    """However its client goes, and whether a verb has met the error before: no client
    is opened again, which would register the id and fence the rightful owner."""
    producer = transactional(
        make_producer,
        idle_disconnect_timeout=IDLE_MS if way == "idle" else 0,
        max_connection_age=IDLE_MS if way == "age" else 0,
    )
    producer.produce_sync(topic, b"before")
    producer.partition_count(topic)  # known from then on
    trigger_fatal_error(producer, FENCED, "a newer instance took over")
    if met:
        with pytest.raises(ProduceError):
            transaction(producer, topic)
    if way in {"idle", "age"}:
        until_gone(producer)
    elif way != "open":
        assert eventually(producer.disconnect)
    if way == "fork":
        producer._connection.start_afresh()  # noqa: SLF001 - what a child does first
    opens = producer.stats().opens
    # A quiet client is looked at once a second.
    assert eventually(lambda: not producer.health().healthy)
    assert_unhealthy(producer, "fenced")
    verbs = {**TRANSACTION, **SENDS, **OTHERS}
    assert_every_verb_says(producer, topic, "fenced", verbs)
    assert_unhealthy(producer, "fenced")
    assert producer.stats().opens == opens
    report = producer.close(5)
    assert report.complete
    assert [message.payload for message in report.undelivered] == [b"x"]


def test_fenced_says_by_whom(make_producer: MakeProducer, topic: str) -> None:
    """The id and the other producer are named, at the first and at any later call; and
    each failed call is an `error.occurred`."""
    producer = transactional(make_producer, kafka={"transactional.id": "payments-1"})
    told: list[Any] = []
    producer.monitor.subscribe("error.occurred", told.append)
    producer.connect()
    trigger_fatal_error(producer, FENCED, "a newer instance took over")
    for _ in range(2):
        with pytest.raises(ProduceError) as caught:
            transaction(producer, topic)
        assert "'payments-1'" in str(caught.value)
        assert "another producer" in str(caught.value)
    eventually(lambda: len(told) == 3)
    kinds = [each["type"] for each in told]
    # A worker tells of what the poll met, perhaps after the first call has failed.
    kinds.remove("librdkafka.error")
    # The poller may meet the error before the first transaction does.
    assert kinds[0] in {"message.produce_async", "transaction.begin"}
    assert kinds[1] == "transaction.begin"


@pytest.mark.parametrize(
    ("options", "stays"),
    [
        ({}, False),
        ({"reload_on_transaction_fatal_error": False}, True),
        ({"max_attempts_on_transaction_fatal_error": 1}, True),
        ({"non_reloadable_errors": ("invalid_txn_state",)}, True),
        ({"non_reloadable_errors": ()}, False),
    ],
)
def test_what_the_policy_reloads_does_not_stay(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    options: dict[str, Any],
    stays: bool,
) -> None:
    """Off, used up, or excluded: it stays, over a rest too. Else it does not."""
    producer = transactional(make_producer, **options)
    producer.connect()
    for _ in range(2 if "max_attempts_on_transaction_fatal_error" in options else 1):
        cluster.push_errors("EndTxn", "invalid_txn_state")
        with pytest.raises(ProduceError):
            transaction(producer, topic)
    producer.disconnect()
    if stays:
        assert_unhealthy(producer, "invalid_txn_state")
        assert_every_verb_says(producer, topic, "invalid_txn_state", TRANSACTION)
    else:
        assert producer.health().healthy
        transaction(producer, topic)


def test_the_last_attempt_is_not_taken_for_the_end(
    make_producer: MakeProducer, topic: str
) -> None:
    """While a client is replaced for the last time, other threads ask for one: nothing
    stays, and the new client works."""
    producer = make_producer(
        kafka={"enable.idempotence": True},
        reload_on_idempotent_fatal_error=True,
        max_attempts_on_idempotent_fatal_error=1,
        **FAST,
    )
    seen: list[bool] = []

    @producer.monitor.on("producer.reload")
    def look(_: object) -> None:
        seen.append(producer.health().healthy)
        native(producer)

    producer.connect()
    trigger_fatal_error(producer, SEQUENCE, "boom")
    producer.produce_sync(topic, b"x")
    assert seen == [True]
    assert producer.health().healthy


@pytest.mark.parametrize("way", ["open", "requested"])
@pytest.mark.parametrize("reload", [True, False])
def test_an_idempotent_producer_goes_by_its_policy(
    make_producer: MakeProducer, topic: str, way: str, reload: bool
) -> None:
    """By default its fatal errors are not reloaded, so they stay; with the reload the
    next use works, also where the client went before any verb met the error."""
    producer = make_producer(
        kafka={"enable.idempotence": True},
        reload_on_idempotent_fatal_error=reload,
        **FAST,
    )
    producer.produce_sync(topic, b"x")
    trigger_fatal_error(producer, SEQUENCE, "boom")
    if way == "requested":
        assert eventually(producer.disconnect)
    if reload:
        producer.produce_sync(topic, b"x")
        assert producer.health().healthy
        return
    code = "out_of_order_sequence_number"
    assert_every_verb_says(producer, topic, code, {**SENDS, **OTHERS})
    assert_unhealthy(producer, code)


def test_a_forked_childs_own_client_is_not_lost(
    make_producer: MakeProducer, topic: str
) -> None:
    """Without a transactional.id the child's client has a producer id of its own."""
    producer = make_producer(kafka={"enable.idempotence": True})
    producer.produce_sync(topic, b"x")
    trigger_fatal_error(producer, SEQUENCE, "boom")
    assert eventually(producer.disconnect)
    with pytest.raises(ProduceError):
        producer.produce_sync(topic, b"x")
    producer._connection.start_afresh()  # noqa: SLF001 - what a child does first
    producer.produce_sync(topic, b"x")


def test_messages_that_a_fatal_error_purged_say_why(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """librdkafka reports them as purged; handles and events have the reason."""
    producer = make_producer(kafka={"enable.idempotence": True})
    cluster.push_errors("InitProducerId", "cluster_authorization_failed")
    with pytest.raises(ProduceError) as caught:
        producer.produce_sync(topic, b"x")
    assert caught.value.code == "cluster_authorization_failed"
    assert "IdempotentWrite" in str(caught.value)
    assert [each["error"].code for each in log.errors("librdkafka.dispatch_error")] == [
        "cluster_authorization_failed"
    ]


# -- a transaction that took too long ---------------------------------------------

SLOW = {"transaction.timeout.ms": 1000, "message.timeout.ms": 1000}


def too_long(
    producer: Producer,
    cluster: EmbeddedCluster,
    topic: str,
    request: str = "EndTxn",
    error: str = "producer_fenced",
) -> ProduceError:
    """What a transaction of more than a second ends with."""
    with pytest.raises(ProduceError) as caught, producer.transaction():
        producer.produce_sync(topic, b"1", partition=0)
        time.sleep(1.1)
        cluster.push_errors(request, error)
        producer.produce_sync(topic, b"2", partition=1)
    return caught.value


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ("EndTxn", "producer_fenced"),
        ("EndTxn", "invalid_producer_epoch"),
        ("AddPartitionsToTxn", "producer_fenced"),
        ("Produce", "invalid_producer_epoch"),
    ],
)
def test_a_transaction_that_timed_out_says_so(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    log: EventLog,
    request_: str,
    error: str,
) -> None:
    """Whichever request is answered as fenced: the code, both durations, one reload;
    the next transaction registers the id again, and works."""
    producer = transactional(make_producer, kafka=SLOW)
    raised = too_long(producer, cluster, topic, request_, error)
    assert (raised.code, raised.fatal) == ("transaction_timed_out", True)
    assert "transaction.timeout.ms is 1000 ms" in str(raised)
    transaction(producer, topic)
    assert producer.health().healthy
    assert [each["error"].code for each in log.all("producer.reload")] == [
        "transaction_timed_out"
    ]
    assert producer.stats().disconnects == {"reload": 1}


def test_the_abort_of_one_that_timed_out(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """It was meant to be aborted, and it is: nothing is raised, and the next works."""
    producer = transactional(make_producer, kafka=SLOW)
    with producer.transaction():
        producer.produce_sync(topic, b"1")
        time.sleep(1.1)
        cluster.push_errors("EndTxn", "producer_fenced")
        raise AbortTransaction
    transaction(producer, topic)
    (told,) = log.errors("transaction.abort")
    assert told["error"].code == "transaction_timed_out"


def test_one_that_was_not_too_long_is_fenced(
    cluster: EmbeddedCluster, make_producer: MakeProducer, topic: str
) -> None:
    """The wait for the transaction before it does not count, nor does the time without
    one: its age is counted from its begin."""
    producer = transactional(make_producer, kafka=SLOW)
    transaction(producer, topic)
    time.sleep(1.1)
    cluster.push_errors("EndTxn", "producer_fenced")
    with pytest.raises(ProduceError) as caught:
        transaction(producer, topic)
    assert caught.value.code == "fenced"


@pytest.mark.parametrize(
    "options",
    [
        {"non_reloadable_errors": ("fenced", "transaction_timed_out")},
        {"reload_on_transaction_fatal_error": False},
    ],
)
def test_a_timeout_that_is_not_reloaded_stays(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    options: dict[str, Any],
) -> None:
    """As `fenced` does, for every verb."""
    producer = transactional(make_producer, kafka=SLOW, **options)
    too_long(producer, cluster, topic)
    producer.disconnect()
    code = "transaction_timed_out"
    assert_unhealthy(producer, code)
    assert_every_verb_says(producer, topic, code, {**TRANSACTION, **SENDS, **OTHERS})


# -- a registration that is refused -----------------------------------------------

REFUSALS = {
    "transactional_id_authorization_failed": "TransactionalId 'payments-1'",
    "invalid_transaction_timeout": "transaction.max.timeout.ms",
    "cluster_authorization_failed": "IdempotentWrite",
}


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("reload", [True, False])
def test_a_refused_registration_is_said_by_every_verb(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    code: str,
    reload: bool,
) -> None:
    """At once and with what to change. Once that was changed, the producer works."""
    producer = transactional(
        make_producer,
        kafka={"transactional.id": "payments-1"},
        reload_on_transaction_fatal_error=reload,
    )
    for name, verb in {**TRANSACTION, **SENDS, **OTHERS}.items():
        cluster.push_errors("InitProducerId", code)
        started = time.monotonic()
        with pytest.raises(ProduceError) as caught:
            verb(producer, topic)
        assert caught.value.code == code, name
        assert REFUSALS[code] in str(caught.value), name
        assert time.monotonic() - started < 3
    cluster.push_errors("InitProducerId", code)
    with pytest.raises(BrokerUnreachableError, match=code) as refused:
        producer.connect(5)
    assert REFUSALS[code] in str(refused.value)
    cluster.push_errors("InitProducerId", code)
    health = producer.health(deep=True)
    assert not health.healthy
    assert code in str(health.error)
    producer.produce_sync(topic, b"x")
    assert producer.health().healthy


# -- what comes out of a block ----------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    ["invalid_txn_state", "producer_fenced", "transport", "coordinator_not_available"],
)
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, ProduceError])
def test_the_users_exception_wins(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    answer: str,
    kind: type[BaseException],
) -> None:
    """Whatever its abort is answered with, what the block raised comes out."""
    producer = transactional(make_producer, max_attempts_on_transaction_command=1)
    producer.connect()
    mine = kind("mine", code="mine") if kind is ProduceError else kind("mine")
    with pytest.raises(kind) as caught, producer.transaction():
        producer.produce_sync(topic, b"x")
        cluster.push_errors("EndTxn", answer)
        raise mine
    assert caught.value is mine
