"""Each verb of `AsyncProducer` does and returns what its sync verb does."""

from __future__ import annotations

import asyncio
import datetime
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.aio.support import arrived, at_rest
from tests.looping import eventually, outcomes, run
from waterdrop_py import DeliveryHandle, DeliveryReport, Message, Status
from waterdrop_py.errors import (
    BrokerUnreachableError,
    MessageInvalidError,
    ProduceError,
    ProduceManyError,
    ProducerNotTransactionalError,
    TransactionRequiredError,
    WaterdropError,
)

if TYPE_CHECKING:
    from tests.embedded.aio.support import MakeAsync
    from waterdrop_py.testing import EmbeddedCluster


def test_the_verbs_that_send(
    make_async: MakeAsync, cluster: EmbeddedCluster, topic: str
) -> None:
    """What each returns, and that everything arrives once."""
    producer = make_async()
    many: list[Any] = [
        Message(topic, b"many-1", label=1),
        {"topic": topic, "payload": b"many-2"},
    ]

    async def main() -> None:
        report = await producer.produce(
            topic,
            "text",
            key="key",
            partition=2,
            timestamp=datetime.datetime.now(datetime.timezone.utc),
            headers={"a": b"b"},
            label="mine",
        )
        assert isinstance(report, DeliveryReport)
        assert (report.topic, report.partition, report.label) == (topic, 2, "mine")
        assert report.message.headers
        handle = await producer.send(topic, b"sent", label=7)
        assert isinstance(handle, DeliveryHandle)
        assert (await handle).label == 7
        reports = await producer.produce_many(many)
        assert [each.label for each in reports] == [1, None]
        handles = await producer.send_many(iter(many))
        assert [each.label for each in handles] == [1, None]
        report = await producer.tombstone(topic, key=b"k")
        assert report.message.payload is None
        reports = await producer.tombstone_many([{"topic": topic, "key": b"k"}])
        assert len(reports) == 1
        assert await producer.flush(10) == 0

    run(main())
    counts = {b"text": 1, b"sent": 1, b"many-1": 2, b"many-2": 2, b"": 2}
    assert arrived(cluster, topic) == counts


def test_the_buffer(
    make_async: MakeAsync, cluster: EmbeddedCluster, topic: str
) -> None:
    """It is filled by plain calls, and flushed by either of two verbs."""
    producer = make_async()

    async def main() -> None:
        producer.buffer(topic, b"1")
        producer.buffer_many([{"topic": topic, "payload": b"2"}])
        assert producer.buffer_size == 2
        reports = await producer.flush_buffer()
        assert [each.message.payload for each in reports] == [b"1", b"2"]
        assert await producer.flush_buffer() == []
        producer.buffer(topic, b"3")
        assert await producer.flush(10) == 0
        assert producer.buffer_size == 0

    run(main())
    assert arrived(cluster, topic) == {b"1": 1, b"2": 1, b"3": 1}


def test_the_verbs_about_the_client(make_async: MakeAsync, topic: str) -> None:
    """Opening, asking, holding, disconnecting, closing."""
    producer = make_async()

    async def main() -> None:
        assert await producer.flush() == 0
        assert (await producer.health()).healthy
        assert not producer.stats().opens
        assert await producer.connect() is producer
        assert producer.is_connected
        assert await producer.partition_count(topic) == 3
        health = await producer.health(deep=True)
        assert health.healthy
        assert health.latency_ms is not None
        async with producer.native() as client:
            found = await asyncio.to_thread(client.list_topics, topic, 5)
            assert topic in found.topics
        await at_rest(producer)
        assert await producer.disconnect() is True
        assert await producer.disconnect() is False
        assert (await producer.close()).complete
        assert producer.status is Status.CLOSED

    run(main())


def test_gather_wait_for_and_as_completed_take_handles(
    make_async: MakeAsync, topic: str
) -> None:
    """As any awaitable; `asyncio.wait` wants a future, a `TaskGroup` a coroutine."""
    producer = make_async()

    async def main() -> None:
        handles = [await producer.send(topic, b"x", label=n) for n in range(5)]
        reports = await asyncio.gather(*handles)
        assert [each.label for each in reports] == list(range(5))
        handle = await producer.send(topic, b"x")
        assert (await asyncio.wait_for(handle, 10)).error is None
        handles = [await producer.send(topic, b"x", label=n) for n in range(5)]
        labels = [(await each).label for each in asyncio.as_completed(handles)]
        assert sorted(labels) == list(range(5))
        done, _ = await asyncio.wait(map(asyncio.ensure_future, handles))
        assert len(done) == 5
        if sys.version_info >= (3, 11):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(producer.produce(topic, b"x"))] * 2
            assert tasks[0].result().error is None

    run(main())


def test_a_handle_needs_not_be_kept(
    make_async: MakeAsync, cluster: EmbeddedCluster, topic: str
) -> None:
    """What was sent and dropped is delivered."""
    producer = make_async()

    async def main() -> None:
        for number in range(100):
            await producer.send(topic, b"%d" % number)
        assert await producer.flush(10) == 0

    run(main())
    assert len(arrived(cluster, topic)) == 100


def test_a_dead_broker(make_async: MakeAsync, dead: str) -> None:
    """Each verb has the sync verb's error, with its checklist."""
    producer = make_async(dead, kafka={"message.timeout.ms": 300})

    async def main() -> None:
        with pytest.raises(ProduceError) as raised:
            await producer.produce("t", b"x")
        assert raised.value.code == "msg_timed_out"
        assert raised.value.checklist
        handle = await producer.send("t", b"x")
        for _ in range(2):
            with pytest.raises(ProduceError):
                await handle
        with pytest.raises(ProduceManyError) as many:
            await producer.produce_many([{"topic": "t", "payload": b"x"}] * 3)
        assert [index for index, _ in many.value.failed] == [0, 1, 2]
        assert len(many.value.dispatched) == 3
        told: list[tuple[str, float]] = []
        with pytest.raises(BrokerUnreachableError):
            await producer.connect(
                10,
                errback=lambda error, pause: told.append((type(error).__name__, pause)),
                max_retries=2,
                interval_start=0.05,
                interval_step=0,
            )
        assert [pause for _, pause in told] == [0.05, 0.05]
        health = await producer.health(deep=True, timeout=0.5)
        assert not health.healthy

    run(main(), within=60)


def test_errback_is_called_on_the_loop(make_async: MakeAsync, dead: str) -> None:
    """In the task's thread, so that it may touch what belongs to the loop."""
    producer = make_async(dead)

    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), list[Any]()

        def errback(_: BaseException, __: float) -> None:
            seen.append(asyncio.get_running_loop())

        with pytest.raises(BrokerUnreachableError):
            await producer.connect(
                10, errback=errback, max_retries=2, interval_start=0.05
            )
        assert seen
        assert all(each is loop for each in seen)

    run(main(), within=60)


def test_a_batch_with_an_invalid_message_sends_nothing(
    make_async: MakeAsync, topic: str
) -> None:
    """All are validated before any is sent; an iterator is read once."""
    producer = make_async()

    async def main() -> None:
        wrong: list[Any] = [{"topic": topic, "payload": b"x"}] * 10 + [{"topic": topic}]
        for verb in (producer.produce_many, producer.send_many):
            with pytest.raises(WaterdropError):
                await verb(iter(wrong))
        assert await producer.produce_many([]) == []
        assert await producer.send_many(iter(())) == []
        not_iterable: Any = 7
        with pytest.raises(MessageInvalidError):
            await producer.produce_many(not_iterable)

    run(main())
    assert producer.stats().produced == 0


def test_without_delivery_nothing_is_sent(
    make_async: MakeAsync, cluster: EmbeddedCluster, topic: str
) -> None:
    """`deliver=False`: all is validated and told, and reports come."""
    producer = make_async(deliver=False)

    async def main() -> None:
        assert (await producer.produce(topic, b"x")).error is None
        handle = await producer.send(topic, b"x")
        assert (await handle).error is None
        assert (
            len(await producer.produce_many([{"topic": topic, "payload": b"x"}])) == 1
        )
        assert await producer.flush(1) == 0

    run(main())
    assert not arrived(cluster, topic)


def test_a_variant(make_async: MakeAsync, cluster: EmbeddedCluster, topic: str) -> None:
    """The same verbs with other settings and a client of its own, closed with its
    producer."""
    producer = make_async()
    variant = producer.variant(topic_config={"acks": 1}, max_wait_timeout="20s")

    async def main() -> None:
        reports = await asyncio.gather(
            variant.produce(topic, b"variant"), producer.produce(topic, b"own")
        )
        assert all(each.error is None for each in reports)
        handles = await variant.send_many([{"topic": topic, "payload": b"many"}] * 3)
        await asyncio.gather(*handles)
        assert set(producer.stats().variants) == {"acks=1"}
        await producer.close()
        with pytest.raises(WaterdropError):
            await variant.produce(topic, b"later")

    run(main())
    assert arrived(cluster, topic) == {b"variant": 1, b"own": 1, b"many": 3}


def test_transactional_verbs_need_a_transactional_producer(
    make_async: MakeAsync,
) -> None:
    """With the sync verbs' errors."""
    producer = make_async()
    nothing: Any = object()

    async def main() -> None:
        with pytest.raises(ProducerNotTransactionalError):
            async with producer.transaction():
                pass
        with pytest.raises((ProducerNotTransactionalError, TransactionRequiredError)):
            await producer.mark_as_consumed(nothing, nothing)

    run(main())


def test_a_subscriber_sends_on_a_loop_of_its_own(
    make_async: MakeAsync, cluster: EmbeddedCluster, topic: str
) -> None:
    """On the library's thread: nothing raises `ReentrantCallError`."""
    producer = make_async()
    raised: list[BaseException] = []
    done: list[int] = []

    async def inner() -> None:
        await producer.send(topic, b"inner")
        await producer.health(deep=True)
        await producer.partition_count(topic)

    def subscriber(event: Any) -> None:
        if event["message"].payload != b"outer":
            return
        try:
            asyncio.run(inner())
        except BaseException as error:  # noqa: BLE001 - the test judges it
            raised.append(error)
        done.append(1)

    producer.monitor.subscribe("message.acknowledged", subscriber)

    async def main() -> None:
        await producer.send(topic, b"outer")
        await eventually(lambda: done, "the subscriber's loop has ended")
        assert await producer.flush(10) == 0

    run(main())
    assert not raised
    assert arrived(cluster, topic) == {b"outer": 1, b"inner": 1}


def test_verbs_inside_a_done_callback_on_the_loop(
    make_async: MakeAsync, topic: str
) -> None:
    """A callback brought to the loop starts a task with any verb."""
    producer = make_async()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[Any]] = []

        def on_loop(_: Any) -> None:
            tasks.append(loop.create_task(producer.produce(topic, b"second")))

        handle = await producer.send(topic, b"first")
        handle.add_done_callback(lambda h: loop.call_soon_threadsafe(on_loop, h))
        await handle
        await eventually(lambda: tasks)
        assert (await tasks[0]).error is None

    run(main())


def test_many_tasks_while_the_client_is_disconnected_again_and_again(
    make_async: MakeAsync, cluster: EmbeddedCluster, topic: str
) -> None:
    """A send that meets a closing client goes to the next one: nothing is lost, nothing
    comes twice."""
    producer = make_async()

    async def main() -> None:
        stop = False

        async def disconnecting() -> None:
            while not stop:
                await producer.disconnect()
                await asyncio.sleep(0.001)

        async def sender(name: int) -> None:
            for number in range(30):
                report = await producer.produce(topic, b"%d-%d" % (name, number))
                assert report.error is None
                await asyncio.sleep(0.001 * (number % 3))

        disturbing = asyncio.ensure_future(disconnecting())
        found = await outcomes(map(sender, range(10)))
        stop = True
        await disturbing
        assert found == [None] * 10
        assert producer.stats().opens > 1

    run(main(), within=60)
    counts = arrived(cluster, topic)
    assert len(counts) == 300
    assert set(counts.values()) == {1}
