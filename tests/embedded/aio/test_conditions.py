"""Tasks beside what else a producer goes through: idleness, age, brokers that go, fatal
errors, closes from a thread, doubles."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.aio.support import arrived, at_rest
from tests.looping import eventually, outcomes, run, turns
from waterdrop_py import AsyncProducer
from waterdrop_py._engine.client import watchers
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    ProduceError,
    ProducerClosedError,
    WaterdropError,
)
from waterdrop_py.testing import BufferedClient, FakeClient, trigger_fatal_error

if TYPE_CHECKING:
    from tests.embedded.aio.support import MakeAsync
    from waterdrop_py.testing import EmbeddedCluster


@pytest.mark.parametrize(
    "options",
    [{"idle_disconnect_timeout": 30}, {"max_connection_age": 50}],
    ids=["idle", "age"],
)
def test_clients_that_are_closed_between_messages(
    make_async: MakeAsync,
    cluster: EmbeddedCluster,
    topic: str,
    options: dict[str, Any],
) -> None:
    """By idleness or age: nothing is lost and nothing comes twice."""
    producer = make_async(**options)

    async def sender(name: int) -> None:
        for number in range(15):
            payload = b"%d-%d" % (name, number)
            if number % 2:
                assert (await producer.produce(topic, payload)).error is None
            else:
                assert (await (await producer.send(topic, payload))).error is None
            await asyncio.sleep(0.02 * (number % 4))

    async def main() -> None:
        await asyncio.gather(*map(sender, range(5)))
        await eventually(lambda: not producer.is_connected)

    run(main(), within=60)
    counts = arrived(cluster, topic)
    assert len(counts) == 75
    assert set(counts.values()) == {1}
    assert producer.stats().opens > 1


def test_nothing_that_waits_is_disconnected(make_async: MakeAsync, dead: str) -> None:
    """A client with a waiting task is not idle, however long it waits."""
    producer = make_async(
        dead,
        kafka={"queue.buffering.max.messages": 1, "message.timeout.ms": 60_000},
        idle_disconnect_timeout=30,
    )

    async def main() -> None:
        await producer.send("t", b"x")
        waiting = asyncio.ensure_future(producer.send("t", b"y"))
        await asyncio.sleep(0.3)
        assert producer.is_connected
        codes = {reason.code for reason in producer.explain_idle().reasons}
        assert "call" in codes
        assert not await producer.disconnect()
        await producer.close(force=True)
        assert isinstance((await outcomes([waiting]))[0], ProducerClosedError)

    run(main())


def test_brokers_that_go_and_come_back(
    make_async: MakeAsync, cluster: EmbeddedCluster, topic: str
) -> None:
    """Tasks wait, and every message arrives once."""
    producer = make_async(kafka={"enable.idempotence": True})

    async def main() -> None:
        await producer.produce(topic, b"first")
        for broker in (1, 2, 3):
            cluster.broker_down(broker)
        tasks = [
            asyncio.ensure_future(producer.produce(topic, b"%d" % number))
            for number in range(50)
        ]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in tasks)
        for broker in (1, 2, 3):
            cluster.broker_up(broker)
        for report in await asyncio.gather(*tasks):
            assert report.error is None

    run(main(), within=60)
    counts = arrived(cluster, topic)
    assert len(counts) == 51
    assert set(counts.values()) == {1}


def test_a_fatal_error_that_is_reloaded(make_async: MakeAsync, topic: str) -> None:
    """Tasks go on with the next client."""
    producer = make_async(
        kafka={"enable.idempotence": True},
        reload_on_idempotent_fatal_error=True,
        wait_backoff_on_idempotent_fatal_error=10,
    )

    async def main() -> None:
        await producer.produce(topic, b"x")
        await asyncio.to_thread(
            trigger_fatal_error, producer.sync_producer, 45, "out of order"
        )
        found = await outcomes(producer.produce(topic, b"x") for _ in range(5))
        for each in found:
            assert not isinstance(each, BaseException) or isinstance(each, ProduceError)
        assert (await producer.produce(topic, b"x")).error is None

    run(main(), within=60)


def test_a_fatal_error_that_stays(make_async: MakeAsync, topic: str) -> None:
    """Every verb has it at once, and `health` tells it."""
    producer = make_async(kafka={"enable.idempotence": True})

    async def main() -> None:
        await producer.produce(topic, b"x")
        await asyncio.to_thread(
            trigger_fatal_error, producer.sync_producer, 45, "out of order"
        )
        for call in (
            producer.produce(topic, b"x"),
            producer.send(topic, b"x"),
            producer.produce_many([{"topic": topic, "payload": b"x"}]),
            producer.send_many([{"topic": topic, "payload": b"x"}]),
        ):
            with pytest.raises(ProduceError) as raised:
                await call
            assert raised.value.fatal
        assert not (await producer.health()).healthy

    run(main(), within=60)


def test_a_sync_close_while_tasks_wait(make_async: MakeAsync, dead: str) -> None:
    """From a thread: each task ends with its error."""
    kafka = {"queue.buffering.max.messages": 5, "message.timeout.ms": 60_000}
    producer = make_async(dead, kafka=kafka)

    async def main() -> None:
        handles = [await producer.send("t", b"x") for _ in range(5)]
        waiting = [asyncio.ensure_future(producer.send("t", b"y")) for _ in range(5)]
        delivering = [asyncio.ensure_future(_awaited(each)) for each in handles]
        await turns()
        await asyncio.to_thread(producer.sync_producer.close, 0.2)
        found = await outcomes(waiting)
        assert [type(each) for each in found] == [ProducerClosedError] * 5
        assert all(isinstance(e, ProduceError) for e in await outcomes(delivering))

    run(main())


async def _awaited(handle: Any) -> Any:
    return await handle


def test_nothing_is_kept_after_many_messages(make_async: MakeAsync, topic: str) -> None:
    """No watcher, and no loop that has ended."""
    producer = make_async()
    loops: list[weakref.ref[Any]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(*[producer.produce(topic, b"x") for _ in range(2_000)])
        handle = await producer.send(topic, b"x")
        await asyncio.gather(*[_awaited(handle) for _ in range(10)])
        await at_rest(producer)

    for _ in range(3):
        run(main())
    gc.collect()
    assert not watchers.WATCHED
    # The last one may be kept by the thread that it ran on.
    assert sum(each() is not None for each in loops) <= 1


@pytest.mark.parametrize("factory", [BufferedClient, FakeClient])
def test_doubles(factory: Any) -> None:
    """The doubles of `waterdrop_py.testing` stand in for tasks too, with
    transactions."""
    kafka = {"transactional.id": "mine"}

    async def main() -> None:
        async with AsyncProducer(kafka=kafka, client_factory=factory) as producer:
            async with producer.transaction():
                handle = await producer.send("t", b"x")
            assert (await handle).error is None
            assert (await producer.produce("t", b"x")).error is None
        plain = AsyncProducer(kafka={"client.id": "x"}, client_factory=factory)
        async with plain:
            reports = await asyncio.gather(
                *[plain.produce("t", b"%d" % number) for number in range(100)]
            )
            assert len(reports) == 100

    run(main())


def test_more_tasks_than_the_queue_holds(
    make_async: MakeAsync, cluster: EmbeddedCluster, topic: str
) -> None:
    """5 000 at once, through a queue of 100."""
    producer = make_async(kafka={"queue.buffering.max.messages": 100})

    async def main() -> None:
        reports = await asyncio.gather(
            *[producer.produce(topic, b"%d" % number) for number in range(5_000)]
        )
        assert all(each.error is None for each in reports)

    run(main(), within=60)
    counts = arrived(cluster, topic)
    assert len(counts) == 5_000
    assert set(counts.values()) == {1}


def test_a_message_larger_than_the_queue(make_async: MakeAsync, topic: str) -> None:
    """It is refused at once, and does not wait for room that never comes."""
    kafka = {"queue.buffering.max.kbytes": 1, "message.max.bytes": 1_000_000}
    producer = make_async(kafka=kafka)

    async def main() -> None:
        for call in (
            producer.produce(topic, bytes(5_000)),
            producer.send(topic, bytes(5_000)),
        ):
            with pytest.raises(WaterdropError) as raised:
                await asyncio.wait_for(call, 5)
            assert not getattr(raised.value, "retriable", False)
        assert (await producer.produce(topic, b"small")).error is None

    run(main())


def test_no_time_at_all(make_async: MakeAsync, dead: str) -> None:
    """`timeout=0`: the wait is over, and the message is on its way; also where the
    client has to be opened first."""
    producer = make_async(dead, kafka={"message.timeout.ms": 60_000})

    async def main() -> None:
        with pytest.raises(DeliveryTimeoutError, match="delivery goes on"):
            await asyncio.wait_for(producer.produce("t", b"x", timeout=0), 5)
        await producer.send("t", b"x")
        with pytest.raises(DeliveryTimeoutError, match="delivery goes on"):
            await asyncio.wait_for(producer.produce("t", b"x", timeout=0), 5)
        assert producer.queue_size == 3
        await producer.close(force=True)

    run(main())


def test_statistics_are_heard_off_the_loop(make_async: MakeAsync, topic: str) -> None:
    """As every event that is not a verb's own."""
    import threading

    producer = make_async(kafka={"statistics.interval.ms": 50})
    heard: list[int] = []

    async def main() -> None:
        producer.monitor.subscribe(
            "statistics.emitted", lambda _: heard.append(threading.get_ident())
        )
        await producer.produce(topic, b"x")

        async def busy() -> None:
            while len(heard) < 5:
                await producer.produce(topic, b"x")
                await asyncio.sleep(0.001)

        await asyncio.wait_for(busy(), 10)
        assert threading.get_ident() not in heard

    run(main())
