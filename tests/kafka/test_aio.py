"""Tasks on the real broker: consume with aiokafka, transform, produce in a transaction,
with cancellations; every message is in the output once."""

from __future__ import annotations

import asyncio
import random
import uuid
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Consumer

from tests.kafka.transforming import PARTITIONS, filled, transactional
from tests.looping import cancelled, run, turns
from waterdrop_py import AsyncProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kafka.harness import KafkaCluster

MESSAGES = 600
BATCH = 20
BOUND = 100.0


def output(cluster: KafkaCluster, sink: str) -> list[bytes]:
    """What those read who read what is committed."""
    found = cluster.read_topic(sink, isolation="read_committed")
    return [each.value() or b"" for each in found]


def consumed(record: Any) -> Any:
    """A record of aiokafka as `mark_as_consumed` takes it."""
    return SimpleNamespace(
        topic=lambda: record.topic,
        partition=lambda: record.partition,
        offset=lambda: record.offset,
        leader_epoch=lambda: None,
        error=lambda: None,
    )


class Worker:
    """Reads a topic with aiokafka, and sends and marks in one transaction a batch."""

    def __init__(
        self, producer: AsyncProducer, reader: Any, group: Consumer, sink: str
    ) -> None:
        self.producer, self.reader, self.sink = producer, reader, sink
        self.group = group  # its metadata: aiokafka's consumer has none
        self.cancelled = 0

    async def step(self) -> None:
        """One transaction."""
        batches = await self.reader.getmany(timeout_ms=100, max_records=BATCH)
        async with self.producer.transaction():
            for records in batches.values():
                for record in records:
                    await self.producer.send(self.sink, b"out-" + record.value)
                await self.producer.mark_as_consumed(
                    self.group, [consumed(each) for each in records]
                )

    async def rewind(self) -> None:
        """To what is committed, once the transaction that was cancelled has ended."""
        async with self.producer.transaction():
            pass  # it waits for that
        for place, offset in (await self.committed()).items():
            self.reader.seek(place, offset)

    async def committed(self) -> dict[Any, int]:
        """The group's offsets. Not by aiokafka's consumer, which is told the old ones
        until the broker has written the marker of a commit that it has answered."""
        places = sorted(self.reader.assignment())
        asked = [confluent_kafka.TopicPartition(*place) for place in places]
        found = None
        while found is None:  # bounded by that of the loop
            try:
                found = await asyncio.to_thread(self.group.committed, asked, 20)
            except confluent_kafka.KafkaException:
                await asyncio.sleep(0.1)  # the coordinator of a new group may move
        offsets = {(each.topic, each.partition): each.offset for each in found}
        return {place: max(0, offsets[tuple(place)]) for place in places}

    async def done(self) -> int:
        """How many messages are committed."""
        return sum((await self.committed()).values())

    async def work(self, dice: random.Random) -> None:
        """Until all is committed; steps are cancelled at random moments. The first of
        them early, so that some are, however fast the machine is."""
        while await self.done() < MESSAGES:
            task = asyncio.ensure_future(self.step())
            if dice.random() < 0.5 or self.cancelled < 3:
                longest = 0.05 if self.cancelled >= 3 else 0.005
                await asyncio.wait({task}, timeout=dice.random() * longest)
                task.cancel()
            await asyncio.wait({task})
            if task.cancelled():
                self.cancelled += 1
                await self.rewind()
            else:
                await task


@asynccontextmanager
async def reading(cluster: KafkaCluster, source: str, group: str) -> AsyncIterator[Any]:
    """A consumer of aiokafka, with all partitions of the input."""
    reader = AIOKafkaConsumer(
        bootstrap_servers=cluster.client_properties()["bootstrap.servers"],
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    reader.assign([TopicPartition(source, each) for each in range(PARTITIONS)])
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


@pytest.mark.parametrize("seed", range(2))
def test_consume_transform_produce_with_cancellations(
    kafka: KafkaCluster, seed: int
) -> None:
    """Half of the steps are cancelled, in the block and as the transaction begins and
    ends: offsets and output agree in the end."""
    source, sink = filled(kafka, MESSAGES)
    group = uuid.uuid4().hex
    kept: list[Worker] = []

    async def main() -> None:
        properties = {**kafka.client_properties(), "group.id": group}
        with closing(Consumer(properties)) as member:
            async with (
                reading(kafka, source, group) as reader,
                AsyncProducer(transactional(kafka)) as producer,
            ):
                worker = Worker(producer, reader, member, sink)
                kept.append(worker)
                await worker.work(random.Random(seed))
                assert await worker.done() == MESSAGES

    run(main(), within=BOUND)
    expected = sorted(b"out-%d" % each for each in range(MESSAGES))
    assert sorted(output(kafka, sink)) == expected
    assert kept[0].cancelled > 2


@pytest.mark.parametrize("late", [False, True], ids=["as it waits", "as it is woken"])
def test_a_transaction_cancelled_at_each_suspension_is_all_or_nothing(
    kafka: KafkaCluster, topic: str, late: bool
) -> None:
    """For those who read what is committed; the next transaction commits."""
    ended: dict[int, bool] = {}
    producer = AsyncProducer(transactional(kafka))

    async def block(at: int) -> None:
        async with producer.transaction():
            for number in range(3):
                await producer.send(topic, b"%d-%d" % (at, number))
            await producer.produce(topic, b"%d-3" % at)

    async def main() -> None:
        for at in range(1, 40):
            found = await cancelled(block(at), at, late=late)
            async with producer.transaction():
                await producer.send(topic, b"next-%d" % at)
            ended[at] = not found.reached
            if not found.reached:
                assert found.raised is None
                break
            assert isinstance(found.raised, asyncio.CancelledError), found
        await producer.close()

    run(main(), within=BOUND)
    values = output(kafka, topic)
    for at, complete in ended.items():
        own = [each for each in values if each.startswith(b"%d-" % at)]
        assert own in ([], [b"%d-%d" % (at, number) for number in range(4)])
        assert own or not complete
        assert values.count(b"next-%d" % at) == 1
    print(f"cancelled at {len(ended) - 1} suspensions")  # noqa: T201 - for the record


def test_tasks_across_a_disconnect(kafka: KafkaCluster, topic: str) -> None:
    """A hundred tasks on one producer that is disconnected again and again: each
    message is stored once."""
    kafka_properties = {**kafka.client_properties(), "linger.ms": 0}

    async def main() -> None:
        async with AsyncProducer(kafka=kafka_properties) as producer:

            async def one(name: int) -> None:
                for number in range(10):
                    report = await producer.produce(topic, b"%d-%d" % (name, number))
                    assert report.error is None

            tasks = [asyncio.ensure_future(one(name)) for name in range(100)]
            while not all(task.done() for task in tasks):
                await producer.disconnect()
                await asyncio.sleep(0.005)
            await asyncio.gather(*tasks)
            await turns()

    run(main(), within=BOUND)
    values = [each.value() for each in kafka.read_topic(topic)]
    assert len(values) == len(set(values)) == 1_000
