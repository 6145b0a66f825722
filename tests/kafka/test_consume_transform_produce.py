"""Consume, transform, produce: what is committed of the input is what is read of the
output, through rebalances and aborts, on a real broker."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import random
import threading
import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from tests.kafka.transforming import PARTITIONS, filled, transactional
from waterdrop_py import AbortTransaction, Producer
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster

MESSAGES = 1_500
BOUND = 90.0


def consumer_of(cluster: KafkaCluster, group: str, **settings: Any) -> Consumer:
    """A consumer that commits nothing by itself."""
    return Consumer(
        {
            **cluster.client_properties(),
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **settings,
        }
    )


def places(topic: str) -> list[TopicPartition]:
    """Every partition of the input."""
    return [TopicPartition(topic, each) for each in range(PARTITIONS)]


class Worker(threading.Thread):
    """Reads, sends and marks in random transactions, of which it aborts some; it polls
    inside them, so that rebalances come there too."""

    def __init__(
        self, cluster: KafkaCluster, consumer: Consumer, source: str, sink: str
    ) -> None:
        super().__init__()
        self._cluster = cluster
        self._consumer = consumer
        self._source, self._sink = source, sink
        self._random = random.Random(source)
        self.teardown = threading.Event()
        self.committed = 0
        self.codes: list[str] = []
        self.surprise: BaseException | None = None

    def run(self) -> None:
        """Until it is told to end."""
        try:
            with closing(self._consumer), transactional(self._cluster) as producer:
                self._consumer.subscribe([self._source])
                while not self.teardown.is_set():
                    self._step(producer)
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.surprise = error

    def _step(self, producer: Producer) -> None:
        aborted = self._random.random() < 0.1
        try:
            with producer.transaction():
                for _ in range(self._random.randrange(1, 40)):
                    message = self._consumer.poll(0.02)
                    if message is None or message.error() is not None:
                        continue
                    producer.produce_async(self._sink, message.value())
                    producer.mark_as_consumed(self._consumer, message)
                if aborted:
                    raise AbortTransaction
            self.committed += not aborted
        except ProduceError as error:
            self.codes.append(error.code)
            aborted = True
        if aborted:
            self._rewind()

    def _rewind(self) -> None:
        """To what is committed, of what is assigned by now."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                for each in self._consumer.committed(self._consumer.assignment(), 10):
                    offset = each.offset if each.offset >= 0 else OFFSET_BEGINNING
                    self._consumer.seek(
                        TopicPartition(each.topic, each.partition, offset)
                    )
            except KafkaException:
                time.sleep(0.02)  # it was assigned just now, and is not fetched yet
            else:
                return
        raise AssertionError("no way back to the committed offsets")


SETTINGS: dict[str, dict[str, Any]] = {
    "range": {"partition.assignment.strategy": "range"},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "static": {"group.instance.id": "static"},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_offsets_and_output_agree(  # noqa: C901, PLR0915 - one story
    kafka: KafkaCluster, kind: str
) -> None:
    """A second consumer joins in the middle, and the first one leaves: every message is
    in the output once, for those who read what is committed, and the group's offsets
    are the ends of the input."""
    source, sink = filled(kafka, MESSAGES)
    group = uuid.uuid4().hex

    def worker(index: int) -> Worker:
        settings = dict(SETTINGS[kind])
        if kind == "static":
            settings["group.instance.id"] = f"static-{index}"
        settings["session.timeout.ms"] = 6_000
        return Worker(kafka, consumer_of(kafka, group, **settings), source, sink)

    workers = [worker(0), worker(1)]
    deadline = time.monotonic() + BOUND
    try:
        with closing(consumer_of(kafka, group)) as watcher:

            def done() -> int:
                try:
                    found = watcher.committed(places(source), 10)
                except KafkaException:
                    return 0  # the coordinator of a new group may just be moving
                return sum(max(0, each.offset) for each in found)

            workers[0].start()
            while done() < MESSAGES // 6 and time.monotonic() < deadline:
                time.sleep(0.05)
            workers[1].start()
            while done() < MESSAGES * 2 // 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            workers[0].teardown.set()
            while done() < MESSAGES and time.monotonic() < deadline:
                time.sleep(0.05)
            assert done() == MESSAGES
    finally:
        for each in workers:
            each.teardown.set()
            if each.is_alive():
                each.join(60)
    assert [each.surprise for each in workers] == [None, None]
    assert all(each.committed for each in workers)
    output = [
        each.value() for each in kafka.read_topic(sink, isolation="read_committed")
    ]
    assert sorted(int(each or b"") for each in output) == list(range(MESSAGES))


@pytest.mark.parametrize("kind", ["range", "cooperative"])
def test_a_rebalance_between_a_mark_and_the_commit(  # noqa: PLR0915 - one story
    kafka: KafkaCluster, kind: str
) -> None:
    """The first consumer polls inside its transaction until the second has some of its
    partitions: by then either may read again what is not committed yet, so the
    transaction is aborted, and every message is in the output once in the end."""
    count = 60
    source, sink = filled(kafka, count)
    group = uuid.uuid4().hex
    settings = SETTINGS[kind]
    first, second = (consumer_of(kafka, group, **settings) for _ in range(2))
    deadline = time.monotonic() + BOUND
    with closing(first), closing(second), transactional(kafka) as producer:

        def forward(consumer: Consumer) -> int:
            message = consumer.poll(0.05)
            if message is None or message.error() is not None:
                return 0
            producer.produce_async(sink, message.value())
            producer.mark_as_consumed(consumer, message)
            return 1

        first.subscribe([source])
        with pytest.raises(ProduceError) as caught, producer.transaction():
            while not sum(forward(first) for _ in range(5)):
                assert time.monotonic() < deadline
            second.subscribe([source])
            while not second.assignment() or not first.assignment():
                assert time.monotonic() < deadline
                forward(first)
                second.poll(0)  # it goes back to the beginning below
        assert caught.value.code == "illegal_generation"
        for consumer in (first, second):
            for each in consumer.committed(consumer.assignment(), 10):
                assert each.offset < 0
                consumer.seek(
                    TopicPartition(each.topic, each.partition, OFFSET_BEGINNING)
                )
        done = 0
        while done < count and time.monotonic() < deadline:
            with producer.transaction():
                done += forward(first) + forward(second)
    output = [
        each.value() for each in kafka.read_topic(sink, isolation="read_committed")
    ]
    assert sorted(int(each or b"") for each in output) == list(range(count))


def test_partitions_assigned_by_hand(kafka: KafkaCluster) -> None:
    """Two consumers of two groups in one transaction, without a subscription: each
    group's offsets are committed, with the metadata of the highest message."""
    source, sink = filled(kafka, 30)
    groups = [uuid.uuid4().hex for _ in range(2)]
    with transactional(kafka) as producer:
        for group in groups:
            consumer = consumer_of(kafka, group)
            with closing(consumer):
                consumer.assign(places(source))
                batch = consumer.consume(30, 30)
                while len(batch) < 30:
                    batch += consumer.consume(30 - len(batch), 30)
                other = consumer_of(kafka, f"{group}-other")
                with closing(other), producer.transaction():
                    producer.produce_async(sink, b"x")
                    producer.mark_as_consumed(consumer, batch, "all")
                    producer.mark_as_consumed(other, batch[:1], "one")
                found = consumer.committed(places(source), 10)
                assert [(each.offset, each.metadata) for each in found] == [
                    (10, "all")
                ] * PARTITIONS
                with closing(consumer_of(kafka, f"{group}-other")) as reader:
                    first: Any = batch[0]
                    where = [TopicPartition(source, first.partition())]
                    (stored,) = reader.committed(where, 10)
                assert (stored.offset, stored.metadata) == (
                    first.offset() + 1,
                    "one",
                )
