"""Positions of consumed messages: collected inside, sent before the commit."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import threading
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from waterdrop_py import AbortTransaction, Producer
from waterdrop_py._engine.transactions import marking, offsets
from waterdrop_py.errors import (
    ProduceError,
    TransactionalOffsetInvalidError,
    TransactionRequiredError,
)
from waterdrop_py.testing import BufferedClient, record

KAFKA = {"bootstrap.servers": "fake:1", "transactional.id": "t"}


class Group:
    """A consumer whose generation the test changes."""

    def __init__(self, name: str) -> None:
        self.name, self.generation, self.is_open = name, 1, True

    def consumer_group_metadata(self) -> str:
        """The metadata that the broker gets."""
        if not self.is_open:
            raise RuntimeError("Consumer closed")
        return f"{self.name}@{self.generation}"


class Sent(BufferedClient):
    """Keeps the offsets that became part of transactions."""

    def __init__(self, conf: dict[str, Any] | None = None) -> None:
        self.sent: list[tuple[str, list[tuple[Any, ...]]]] = []
        self.ended: list[str] = []
        self.refusals: list[KafkaException] = []
        super().__init__(conf)

    def send_offsets_to_transaction(
        self, positions: list[Any], group_metadata: Any, timeout: float = -1
    ) -> None:
        """Keep the offsets, or refuse them."""
        if self.refusals:
            raise self.refusals.pop()
        super().send_offsets_to_transaction(positions, group_metadata, timeout)
        told = [
            (p.topic, p.partition, p.offset, p.metadata or None, p.leader_epoch)
            for p in positions
        ]
        self.sent.append((group_metadata, sorted(told, key=repr)))

    def commit_transaction(self, timeout: float = -1) -> None:
        """Commit."""
        self.ended.append("commit")
        super().commit_transaction(timeout)

    def abort_transaction(self, timeout: float = -1) -> None:
        """Abort."""
        self.ended.append("abort")
        super().abort_transaction(timeout)


def message(offset: int, partition: int = 0, epoch: int | None = None) -> Any:
    """A message as a consumer returns it."""
    return SimpleNamespace(
        topic=lambda: "in",
        partition=lambda: partition,
        offset=lambda: offset,
        leader_epoch=lambda: epoch,
        error=lambda: None,
    )


@pytest.fixture
def client() -> Sent:
    """The cluster."""
    return Sent()


@pytest.fixture
def producer(client: Sent) -> Any:
    """A transactional producer of it."""
    with Producer(kafka=KAFKA, client_factory=client) as producer:
        yield producer


def test_sent_once_for_each_consumer(producer: Producer, client: Sent) -> None:
    """3000 marks of three partitions are one request, with the highest of each and its
    metadata. The group metadata is read when it is sent."""
    group = Group("g")
    with record(producer.monitor) as events, producer.transaction():
        for offset in range(1000):
            for partition in (2, 0, 1):
                producer.mark_as_consumed(
                    group, message(offset, partition), f"m{offset}"
                )
        producer.mark_as_consumed(group, message(3, 2), "late and low")
        producer.mark_as_consumed(group, [message(999, 1, epoch=5)], "last")
        producer.mark_as_consumed(group, [])
        assert not client.sent
        group.generation = 2
    assert client.sent == [
        (
            "g@2",
            [
                ("in", 0, 1000, "m999", None),
                ("in", 1, 1000, "last", 5),
                ("in", 2, 1000, "m999", None),
            ],
        )
    ]
    marked = [e for e in events if e.name == "transaction.marked_as_consumed"]
    assert len(marked) == 3003
    assert [len(e["messages"]) for e in marked[-2:]] == [1, 0]
    assert {e.duration_ms for e in marked} == {None}
    assert client.ended == ["commit"]


def test_two_consumers_in_one_transaction(producer: Producer, client: Sent) -> None:
    """Each consumer has its own request, also in nested blocks and from a variant."""
    one, two = Group("one"), Group("two")
    with producer.transaction():
        producer.mark_as_consumed(one, message(1))
        with producer.transaction():
            producer.variant(max_wait_timeout=1000).mark_as_consumed(two, message(7))
        producer.mark_as_consumed(one, message(2))
    assert client.sent == [
        ("one@1", [("in", 0, 3, None, None)]),
        ("two@1", [("in", 0, 8, None, None)]),
    ]
    with producer.transaction():
        producer.produce_async("t", b"x")
    assert len(client.sent) == 2, "the next transaction has none of them"


def test_an_abort_sends_nothing(producer: Producer, client: Sent) -> None:
    """An abort sends no positions, whatever its cause."""
    group = Group("g")
    with producer.transaction():
        producer.mark_as_consumed(group, message(1))
        raise AbortTransaction
    with pytest.raises(KeyError), producer.transaction():
        producer.mark_as_consumed(group, message(1))
        raise KeyError
    with pytest.raises(ProduceError), producer.transaction():
        producer.mark_as_consumed(group, message(1))
        with pytest.raises(KeyError), producer.transaction():
            raise KeyError
    assert not client.sent
    assert client.ended == ["abort"] * 3


@pytest.mark.parametrize("flags", [{}, {"txn_requires_abort": True}])
def test_a_refusal_aborts(
    producer: Producer, client: Sent, flags: dict[str, bool]
) -> None:
    """The broker's refusal is raised by the block as a ProduceError. The transaction is
    aborted once, and the next one works."""
    code = KafkaError.ILLEGAL_GENERATION
    client.refusals.append(KafkaException(KafkaError(code, "as told", **flags)))
    with (
        record(producer.monitor) as events,
        pytest.raises(ProduceError) as caught,
        producer.transaction(),
    ):
        producer.produce_async("t", b"x")
        producer.mark_as_consumed(Group("g"), message(1))
    assert caught.value.code == "illegal_generation"
    assert isinstance(caught.value.__cause__, KafkaException)
    assert client.ended == ["abort"]
    assert not client.messages
    (told,) = [e for e in events if e.name == "error.occurred"]
    assert told["type"] == "transaction.store_offset"
    with producer.transaction():
        producer.produce_async("t", b"y")
        producer.mark_as_consumed(Group("g"), message(1))
    assert [each.value() for each in client.messages] == [b"y"]
    assert producer.stats().opens == 1


def test_a_closed_consumer_is_refused_at_the_call(
    producer: Producer, client: Sent
) -> None:
    """The first mark of a closed consumer and a later one are refused. Nothing is
    collected, and the transaction continues."""
    shut, open_ = Group("shut"), Group("open")
    shut.is_open = False
    with producer.transaction():
        with pytest.raises(TransactionalOffsetInvalidError, match="closed") as caught:
            producer.mark_as_consumed(shut, message(1))
        assert isinstance(caught.value.__cause__, RuntimeError)
        producer.mark_as_consumed(open_, message(1))
    assert [group for group, _ in client.sent] == ["open@1"]


def test_a_consumer_closed_before_the_commit_aborts(
    producer: Producer, client: Sent
) -> None:
    """A consumer that is closed before the commit aborts the transaction."""
    group = Group("g")
    with (
        pytest.raises(TransactionalOffsetInvalidError, match="closed"),
        producer.transaction(),
    ):
        producer.produce_async("t", b"x")
        producer.mark_as_consumed(group, message(1))
        group.is_open = False
    assert client.ended == ["abort"]
    assert not client.messages
    producer.produce_sync("t", b"next")
    assert producer.stats().opens == 1


def test_confluents_own_consumer(producer: Producer, client: Sent) -> None:
    """A real consumer is accepted without a member id, and refused when closed."""
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g"})
    with producer.transaction():
        producer.mark_as_consumed(consumer, message(1))
        producer.mark_as_consumed(consumer, message(2))
        consumer.close()
        with pytest.raises(TransactionalOffsetInvalidError, match="closed"):
            producer.mark_as_consumed(consumer, message(3))
        raise AbortTransaction
    assert not client.sent


class Rebalanced(Consumer):
    """A confluent-kafka consumer that seems to be in a group."""

    group, member = b"1", "m"
    partitions: tuple[int, ...] = (0,)

    def consumer_group_metadata(self) -> Any:
        """The group of the test."""
        return self.group

    def memberid(self) -> str:
        """The member id of the test."""
        return self.member

    def assignment(self) -> Any:
        """The partitions of the test."""
        return [SimpleNamespace(topic="in", partition=each) for each in self.partitions]


@pytest.mark.parametrize(
    "change", [{"group": b"2"}, {"partitions": (1,)}, {"partitions": ()}]
)
def test_a_rebalance_inside_a_transaction_aborts_it(
    producer: Producer, client: Sent, change: dict[str, Any]
) -> None:
    """A position of another generation, or of a partition that is no longer assigned,
    aborts: what was sent for those messages would be visible twice."""
    consumer = Rebalanced({"bootstrap.servers": "127.0.0.1:1", "group.id": "g"})
    try:
        with producer.transaction():
            producer.mark_as_consumed(consumer, message(1))
        with pytest.raises(ProduceError) as caught, producer.transaction():
            producer.produce_async("t", b"x")
            producer.mark_as_consumed(consumer, message(2))
            for name, value in change.items():
                setattr(consumer, name, value)
        consumer.member = ""
        consumer.partitions = ()
        with producer.transaction():
            producer.mark_as_consumed(consumer, message(3))
    finally:
        consumer.close()
    assert caught.value.code == "illegal_generation"
    assert caught.value.checklist
    assert client.ended == ["commit", "abort", "commit"]
    assert [sent[1][0][2] for sent in client.sent] == [2, 4]


def test_a_mark_in_another_thread_that_comes_too_late(
    producer: Producer, client: Sent
) -> None:
    """Threads in the transaction's context may mark, until it has ended."""
    context: Any = None
    with producer.transaction():
        context = copy_context()

        def mark(offset: int) -> None:
            context.copy().run(producer.mark_as_consumed, group, message(offset))

        group = Group("g")
        threads = [threading.Thread(target=mark, args=(each,)) for each in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert client.sent == [("g@1", [("in", 0, 8, None, None)])]
    with pytest.raises(TransactionRequiredError):
        mark(9)


def test_a_transaction_that_ends_as_a_message_is_marked(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread leaves the block after the mark has found the transaction: its
    position is committed by none, and the caller is told."""
    checked = offsets.checked_positions
    with producer.transaction():
        running = producer._components.transactions.current()  # type: ignore[union-attr]  # noqa: SLF001
        assert running is not None

        def ended(*given: Any, **named: Any) -> Any:
            running.open = False
            return checked(*given, **named)

        monkeypatch.setattr(marking, "checked_positions", ended)
        with pytest.raises(TransactionRequiredError, match="ended in another thread"):
            producer.mark_as_consumed(Group("g"), message(1))
        running.open = True
