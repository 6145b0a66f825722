"""The doubles and the real client behind one producer: the same answers.

A test of a service that runs on a double is worth what the double shares with the
real client; each promise here is held by all of them.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest

from tests.doubles import BOUND
from waterdrop_py import AbortTransaction, Message, Producer
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    InvalidArgumentError,
    MessageInvalidError,
    ProduceManyError,
    ProducerClosedError,
    ProducerNotTransactionalError,
    TransactionRequiredError,
    WaterdropError,
)
from waterdrop_py.testing import (
    BufferedClient,
    FakeClient,
    allow_short_idle_timeouts,
    record,
    trigger_fatal_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waterdrop_py.testing import EmbeddedCluster

KINDS = ["real", "fake class", "fake", "buffered class", "buffered", "deliver=False"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which client is behind the producer."""
    return str(request.param)


@pytest.fixture
def options(kind: str, waterdrop_cluster: EmbeddedCluster) -> dict[str, Any]:
    """What makes a producer one of that kind."""
    if kind == "real":
        return {"kafka": {"bootstrap.servers": waterdrop_cluster.bootstrap_servers}}
    factories: dict[str, Any] = {
        "fake class": FakeClient,
        "fake": FakeClient(),
        "buffered class": BufferedClient,
        "buffered": BufferedClient(),
    }
    kafka = {"bootstrap.servers": "127.0.0.1:1"}
    if kind in factories:
        return {"kafka": kafka, "client_factory": factories[kind]}
    return {"kafka": kafka, "deliver": False}


@pytest.fixture
def make(options: dict[str, Any]) -> Iterator[Callable[..., Producer]]:
    """Producers of that kind, closed after the test."""
    made: list[Producer] = []

    def build(*, kafka: Any = None, **more: Any) -> Producer:
        properties = {**options["kafka"], "linger.ms": 0, **(kafka or {})}
        with allow_short_idle_timeouts():
            made.append(Producer(**{**options, **more, "kafka": properties}))
        return made[-1]

    yield build
    for producer in made:
        producer.close(5, force=True)


@pytest.fixture
def topic(kind: str, waterdrop_cluster: EmbeddedCluster) -> str:
    """A topic of the test's own, with four partitions."""
    name = f"topic-{uuid.uuid4().hex[:12]}"
    if kind == "real":
        waterdrop_cluster.create_topic(name, 4)
    return name


@pytest.fixture
def transactional(make: Callable[..., Producer]) -> Producer:
    """A transactional producer."""
    return make(kafka={"transactional.id": f"id-{uuid.uuid4().hex[:12]}"})


def fail_after(verb: Callable[..., Any], *arguments: Any, **more: Any) -> None:
    """What the inside of a transaction does: send, and raise."""
    verb(*arguments, **more)
    raise LookupError("mine")


def test_offsets_count_from_0_for_each_partition(
    make: Callable[..., Producer], topic: str
) -> None:
    """In order, and not mixed up between a topic's 11 and another one's 1."""
    producer = make()
    offsets = [
        producer.produce_sync(topic, b"x", partition=place).offset
        for place in (2, 2, 3, 2)
    ]
    assert offsets == [0, 1, 0, 2]


def test_the_report(make: Callable[..., Producer], topic: str) -> None:
    """Every figure of it is there, and the message and its label come back."""
    label = object()
    report = make().produce_sync(
        topic, "text", key="k", partition=1, headers={"h": ["a", None]}, label=label
    )
    assert (report.topic, report.partition, report.offset) == (topic, 1, 0)
    assert isinstance(report.timestamp, int)
    assert isinstance(report.latency_ms, float)
    assert report.latency_ms >= 0
    assert (report.label, report.error) == (label, None)
    assert report.message == Message(
        topic, b"text", b"k", 1, headers=[("h", b"a"), ("h", None)], label=label
    )


@pytest.mark.parametrize("kind", KINDS[1:], indirect=True)
def test_the_timestamp(make: Callable[..., Producer], topic: str) -> None:
    """The message's own, else the moment of the send. (librdkafka's mock brokers
    stamp every message alike.)"""
    producer = make()
    report = producer.produce_sync(topic, b"x", timestamp=1_700_000_000_123)
    assert report.timestamp == 1_700_000_000_123
    before = int(time.time() * 1000)
    report = producer.produce_sync(topic, b"x")
    assert report.timestamp is not None
    assert before <= report.timestamp <= time.time() * 1000


def test_a_partition_key(make: Callable[..., Producer], topic: str) -> None:
    """It chooses one of the topic's partitions, the same one each time."""
    producer = make()
    assert producer.partition_count(topic) == 4
    places = {
        producer.produce_sync(topic, b"x", partition_key=b"abc").partition
        for _ in range(3)
    }
    assert places == {0x352441C2 % 4}  # crc32 of "abc"


def test_the_same_events(make: Callable[..., Producer], topic: str) -> None:
    """A listener cannot tell them apart."""
    producer = make(id="one")
    with record(producer.monitor) as events:
        producer.produce_sync(topic, b"x", partition=0, label="l")
        [handle] = producer.produce_many_async([Message(topic, b"y", partition=0)])
        handle.result(BOUND)
        producer.close(BOUND)
    names = [event.name for event in events]
    assert sorted(names) == sorted(
        [
            "producer.connecting",
            "producer.connected",
            "message.acknowledged",
            "message.produced_sync",
            "messages.produced_async",
            "message.acknowledged",
            "producer.closing",
            "producer.disconnecting",
            "producer.disconnected",
            "producer.closed",
        ]
    )
    acknowledged = [each for each in events if each.name == "message.acknowledged"]
    assert [each["offset"] for each in acknowledged] == [0, 1]
    assert acknowledged[0]["label"] == "l"


def test_invalid_messages(make: Callable[..., Producer], topic: str) -> None:
    """Validation is the library's, and nothing is opened for it."""
    producer = make()
    with pytest.raises(MessageInvalidError):
        producer.produce_async("not a topic", b"x")
    with pytest.raises(MessageInvalidError):
        producer.produce_many_sync([Message(topic, b"x"), Message(topic, b"x", b"")])
    assert producer.stats().opens == 0


def test_a_full_queue(make: Callable[..., Producer], topic: str) -> None:
    """The client takes no more than it was configured for, while it is not polled."""
    producer = make(kafka={"queue.buffering.max.messages": 3}, wait_on_queue_full=False)
    producer.produce_sync(topic, b"open", partition=0)
    with producer.native() as client:
        refused = 0
        for _ in range(200):
            try:
                client.produce(topic, value=b"x", partition=0)
            except BufferError:
                refused += 1
        assert refused
    producer.flush(BOUND)


def test_a_full_queue_is_a_produce_error(
    make: Callable[..., Producer], topic: str
) -> None:
    """`queue_full`, where the producer is not to wait for room."""
    producer = make(
        kafka={"queue.buffering.max.messages": 3, "linger.ms": 1_000},
        wait_on_queue_full=False,
    )
    # The library serves reports between the calls, so some may be taken.
    batch = [Message(topic, b"x", partition=0, label=n) for n in range(500)]
    with pytest.raises(ProduceManyError) as refused:
        producer.produce_many_async(batch)
    assert refused.value.code == "queue_full"
    labels = [handle.label for handle in refused.value.dispatched]
    assert labels == list(range(len(labels)))
    producer.purge()
    assert all(handle.done() for handle in refused.value.dispatched)


def test_closed(make: Callable[..., Producer], topic: str) -> None:
    """A closed producer refuses; the client under it raises RuntimeError itself."""
    producer = make()
    producer.produce_sync(topic, b"x", partition=0)
    with producer.native() as client:
        pass
    assert producer.close(BOUND).complete
    with pytest.raises(ProducerClosedError):
        producer.produce_async(topic, b"x")
    with pytest.raises(RuntimeError):
        client.produce(topic, value=b"x")


def test_purge(make: Callable[..., Producer], topic: str) -> None:
    """What waits in the client's queue ends with `purge_queue`."""
    producer = make(kafka={"linger.ms": 5_000})
    with producer.native() as client:
        outcomes: list[Any] = []
        report = partial(lambda error, _: outcomes.append(error))
        client.produce(topic, value=b"x", partition=0, on_delivery=report)
        client.purge()
        deadline = time.monotonic() + BOUND
        while not outcomes and time.monotonic() < deadline:
            client.poll(0.01)
    [error] = outcomes
    # A double acknowledges at once when the library polls in between.
    assert error is None or error.name() in {"_PURGE_QUEUE", "_PURGE_INFLIGHT"}


def test_an_idle_disconnect(
    kind: str, make: Callable[..., Producer], topic: str
) -> None:
    """The next send opens another client, and what the cluster knew it still knows."""
    producer = make()
    assert producer.produce_sync(topic, b"x", partition=0).offset == 0
    assert producer.disconnect()
    offset = producer.produce_sync(topic, b"x", partition=0).offset
    # A class as the factory makes a new cluster with each client.
    assert offset == (0 if kind.endswith("class") else 1)
    assert producer.stats().opens == 2


def test_a_variant(make: Callable[..., Producer], topic: str) -> None:
    """Its client is another one: the end of either leaves the other as it was."""
    producer = make()
    variant = producer.variant(topic_config={"acks": 1})
    producer.produce_sync(topic, b"x", partition=0)
    variant.produce_sync(topic, b"y", partition=0)
    assert producer.disconnect()
    variant.produce_sync(topic, b"z", partition=0)
    assert producer.stats().opens == 1
    [figures] = producer.stats().variants.values()
    assert (figures.opens, figures.produced, figures.acknowledged) == (1, 2, 2)


def test_a_transaction(transactional: Producer, topic: str) -> None:
    """Committed at the end of the block, nested blocks join, reports come."""
    with record(transactional.monitor) as events, transactional.transaction():
        assert transactional.in_transaction
        first = transactional.produce_async(topic, b"1", partition=0)
        with transactional.transaction():
            second = transactional.produce_async(topic, b"2", partition=0)
    assert [first.result(BOUND).error, second.result(BOUND).error] == [None, None]
    assert not transactional.in_transaction
    names = [each.name for each in events if each.name.startswith("transaction.")]
    assert names == [
        "transaction.started",
        "transaction.committed",
        "transaction.finished",
    ]


def test_an_aborted_transaction(transactional: Producer, topic: str) -> None:
    """Any exception aborts and is raised; AbortTransaction is not."""
    with record(transactional.monitor) as events:
        with pytest.raises(LookupError, match="mine"), transactional.transaction():
            fail_after(transactional.produce_async, topic, b"1", partition=0)
        with transactional.transaction():
            raise AbortTransaction
    names = [each.name for each in events if each.name.startswith("transaction.")]
    assert names.count("transaction.aborted") == 2
    assert "transaction.committed" not in names
    assert transactional.produce_sync(topic, b"2", partition=0).error is None


def test_a_block_that_is_used_again(transactional: Producer, topic: str) -> None:
    """It begins another transaction, or joins the outer one, which it does not end;
    entered while it is entered it is refused, and the transaction goes on."""
    block = transactional.transaction()
    with record(transactional.monitor) as events:
        with block:
            with pytest.raises(WaterdropError, match="entered already"), block:
                pass
            transactional.produce_async(topic, b"1")
            assert transactional.in_transaction
        with transactional.transaction():
            with block:
                transactional.produce_async(topic, b"2")
            assert transactional.in_transaction
            transactional.produce_async(topic, b"3")
    names = [event.name for event in events]
    assert names.count("transaction.committed") == 2


def test_a_native_block_that_is_used_again(make: Callable[..., Producer]) -> None:
    """One pin each time, and none when it has ended."""
    producer = make()
    native = producer.native()
    for _ in range(2):
        with native as client:
            with pytest.raises(WaterdropError, match="entered already"), native:
                pass
            assert callable(client.produce)
            pins = {r.code: r.count for r in producer.explain_idle().reasons}
            assert pins["pinned"] == 1
        assert "pinned" not in {r.code for r in producer.explain_idle().reasons}
    assert producer.disconnect()


def test_a_send_outside_a_block(transactional: Producer, topic: str) -> None:
    """It has a transaction of its own; a batch has one."""
    with record(transactional.monitor) as events:
        transactional.produce_sync(topic, b"1", partition=0)
        transactional.produce_many_sync([Message(topic, b"2"), Message(topic, b"3")])
    names = [each.name for each in events]
    assert names.count("transaction.committed") == 2


def test_the_raw_client_outside_a_transaction(
    transactional: Producer, topic: str
) -> None:
    """A transactional client takes no message outside a transaction."""
    with (
        transactional.native() as client,
        pytest.raises(confluent_kafka.KafkaException) as refused,
    ):
        client.produce(topic, value=b"x")
    assert refused.value.args[0].name() == "_STATE"


def test_transactional_verbs_without_a_transaction(
    make: Callable[..., Producer], transactional: Producer
) -> None:
    """Each has its error."""
    with pytest.raises(ProducerNotTransactionalError):
        make().transaction()
    with pytest.raises(TransactionRequiredError):
        transactional.mark_as_consumed(object(), object())


def test_a_payload_that_is_too_large(
    kind: str, make: Callable[..., Producer], topic: str
) -> None:
    """`max_payload_size` is the library's own, and holds for all of them."""
    with pytest.raises(MessageInvalidError, match="payload"):
        make(max_payload_size=3).produce_async(topic, b"four")


def test_a_buffered_payload_that_is_too_large(
    kind: str, make: Callable[..., Producer], topic: str
) -> None:
    """The limit holds for the buffer too, also for what is plainly legal but for it."""
    producer = make(max_payload_size=3)
    producer.produce_sync(topic, b"one")
    producer.buffer_many([{"topic": topic, "payload": b"four"}])
    with pytest.raises(MessageInvalidError, match="payload"):
        producer.flush_buffer_sync()
    assert producer.buffer_size == 1
    assert producer.close(5).failed == 0


@pytest.mark.parametrize("wrapped", [False, True])
def test_deliver_false_sends_nothing(
    waterdrop_cluster: EmbeddedCluster, wrapped: bool
) -> None:
    """Whatever real client it is given; a double that it is given is used."""

    class Traced(confluent_kafka.Producer):
        """A subclass of the user's."""

    topic = f"topic-{uuid.uuid4().hex[:12]}"
    waterdrop_cluster.create_topic(topic, 1)
    kafka = {"bootstrap.servers": waterdrop_cluster.bootstrap_servers}
    factory: Any = partial(Traced) if wrapped else Traced
    with Producer(kafka=kafka, client_factory=factory, deliver=False) as producer:
        assert producer.produce_sync(topic, b"x").offset == 0
    assert waterdrop_cluster.read(topic) == []
    client = BufferedClient()
    with Producer(kafka=kafka, client_factory=client, deliver=False) as producer:
        producer.produce_sync(topic, b"y")
    assert [each.value() for each in client.messages] == [b"y"]


class TestBuffered:
    """What only the buffered client has: what was sent, to look at."""

    def test_messages(self) -> None:
        """In order, by topic, with all that a consumer would see; `reset` forgets."""
        client = BufferedClient()
        with Producer(
            kafka={"bootstrap.servers": "x"}, client_factory=client
        ) as producer:
            producer.produce_sync("a", "1", key="k", headers={"h": "v"}, timestamp=5)
            producer.tombstone_sync("b", key=b"k", partition=3)
            producer.produce_async("a", b"2")
            assert [each.value() for each in client.messages] == [b"1", None, b"2"]
            assert [each.value() for each in client.messages_for("a")] == [b"1", b"2"]
            assert client.messages_for("unknown") == []
            first, second, _ = client.messages
            assert (first.key(), first.headers()) == (b"k", [("h", b"v")])
            assert first.timestamp() == (1, 5)
            assert (second.topic(), second.partition(), second.offset()) == ("b", 3, 0)
            assert first.error() is None
            client.reset()
            assert client.messages == client.messages_for("a") == []
            producer.produce_sync("a", b"3")
            assert len(client.messages) == 1

    def test_the_caller_cannot_change_what_is_kept(self) -> None:
        """The list is a copy."""
        client = BufferedClient()
        with Producer(
            kafka={"bootstrap.servers": "x"}, client_factory=client
        ) as producer:
            producer.produce_sync("a", b"1")
            client.messages.clear()
            assert len(client.messages) == 1

    def test_transactions(self) -> None:
        """Visible with the commit and not before; never after an abort."""
        client = BufferedClient()
        kafka = {"bootstrap.servers": "x", "transactional.id": "t"}
        with Producer(kafka=kafka, client_factory=client) as producer:
            with producer.transaction():
                producer.produce_sync("a", b"1")
                with producer.transaction():
                    producer.produce_async("a", b"2")
                assert client.messages == []
            assert [each.value() for each in client.messages] == [b"1", b"2"]
            with pytest.raises(LookupError), producer.transaction():
                fail_after(producer.produce_sync, "a", b"3")
            with producer.transaction():
                producer.produce_async("a", b"4")
                raise AbortTransaction
            assert [each.value() for each in client.messages] == [b"1", b"2"]
            producer.produce_sync("a", b"5")
            assert len(client.messages) == 3

    def test_what_is_purged_was_never_sent(self) -> None:
        """A purged message is no longer among them."""
        client = BufferedClient({})
        client.produce("a", b"1")
        client.poll(0)
        client.produce("a", b"2")
        client.purge()
        client.poll(0)
        assert [each.value() for each in client.messages] == [b"1"]

    def test_another_thread_polls_as_the_client_is_purged(self) -> None:
        """What the poll was faster with is delivered, and the rest is purged."""
        client = BufferedClient({})
        told: dict[bytes | None, Any] = {}
        for number in range(3):
            client.produce(
                "a",
                b"%d" % number,
                on_delivery=lambda error, message: told.update(
                    {message.value(): error and error.name()}
                ),
            )

        class Polled(deque[Any]):
            """Another thread serves the first two reports after the first look."""

            def __len__(self) -> int:
                found = super().__len__()
                if found == 3:
                    rest = self.pop()
                    client.poll(0)
                    self.append(rest)
                return found

        client._waiting = Polled(client._waiting)  # noqa: SLF001 - its queue
        client.purge()
        client.poll(0)
        assert told == {b"0": None, b"1": None, b"2": "_PURGE_QUEUE"}
        assert [each.value() for each in client.messages] == [b"0", b"1"]

    def test_one_instance_serves_several_producers(self) -> None:
        """As a cluster would: what any of them sends is there, and the close of one
        is not the close of the others."""
        client = BufferedClient()
        kafka = {"bootstrap.servers": "x"}
        with Producer(kafka=kafka, client_factory=client) as one:
            with Producer(kafka=kafka, client_factory=client) as two:
                assert two.produce_sync("a", b"1", partition=0).offset == 0
            assert one.produce_sync("a", b"2", partition=0).offset == 1
        assert [each.value() for each in client.messages] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("code", "reason", "name"),
    [
        ("47", "x", "code"),
        (True, "x", "code"),
        (2**40, "x", "code"),
        (47, None, "reason"),
        (47, "a\0b", "reason"),
        (47, "\ud800", "reason"),
    ],
)
def test_what_is_no_fatal_error(code: Any, reason: Any, name: str) -> None:
    """Refused by name, before a client is opened for it."""
    with Producer(kafka={"bootstrap.servers": "h"}, client_factory=FakeClient) as each:
        with pytest.raises(InvalidArgumentError, match=rf"^{name}: "):
            trigger_fatal_error(each, code, reason)
        assert not each.is_connected
        with pytest.raises(InvalidArgumentError, match=r"^producer: "):
            trigger_fatal_error(each.variant(), 47, "x")  # type: ignore[arg-type]


def test_record_takes_a_monitor() -> None:
    """And says where a producer has its own."""
    with Producer(kafka={"bootstrap.servers": "h"}, client_factory=FakeClient) as each:
        recording: Any = record(each)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match=r"producer\.monitor"), recording:
            pass


@pytest.mark.parametrize("factory", [lambda _: None, dict])
def test_what_is_no_client(factory: Any) -> None:
    """Every use says what the factory made and what that lacks, and a deep check is
    answered; nothing counts as opened."""
    servers = {"bootstrap.servers": "h"}
    with Producer(kafka=servers, client_factory=factory) as producer:
        lacking = producer.health(deep=True, timeout=1).error
        assert isinstance(lacking, ConfigurationInvalidError)
        assert "has no produce, poll, close" in lacking.errors["client_factory"]
        for use in (producer.connect, partial(producer.produce_async, "t", b"x")):
            with pytest.raises(
                ConfigurationInvalidError, match="client_factory: must make"
            ):
                use()
        assert producer.stats().opens == 0
