"""A message that waits is withdrawn when its task is cancelled: it is never sent."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.aio.support import calls, full, made, opened, parked, payloads
from tests.looping import eventually, outcomes, run, turns
from waterdrop_py import AsyncProducer
from waterdrop_py.errors import DeliveryTimeoutError, ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.concurrency.support import Make
    from tests.doubles import Bench

    Verb = Callable[[AsyncProducer], Coroutine[Any, Any, Any]]

MANY: list[dict[str, Any]] = [{"topic": "t", "payload": b"lost"} for _ in range(3)]
VERBS: dict[str, Verb] = {
    "produce": lambda producer: producer.produce("t", b"lost"),
    "send": lambda producer: producer.send("t", b"lost"),
    "produce_many": lambda producer: producer.produce_many(MANY),
    "send_many": lambda producer: producer.send_many(MANY),
    "tombstone": lambda producer: producer.tombstone("t", key=b"lost"),
    "tombstone_many": lambda producer: producer.tombstone_many(
        [{"topic": "t", "key": b"lost"}]
    ),
}


async def gone(task: asyncio.Future[Any]) -> None:
    """The cancelled task has ended with `CancelledError`, a turn later."""
    task.cancel()
    await turns(3)
    assert task.done(), "the cancelling was delayed"
    assert task.cancelled()


@pytest.mark.parametrize("verb", VERBS)
def test_while_the_client_opens(bench: Bench, make: Make, verb: str) -> None:
    """The others that wait for the same client notice nothing; nothing is counted."""
    producer = made(make)

    async def main() -> None:
        with bench.park("open") as opening:
            before = asyncio.ensure_future(producer.produce("t", b"before"))
            task = asyncio.ensure_future(VERBS[verb](producer))
            after = asyncio.ensure_future(producer.produce("t", b"after"))
            await parked(opening)
            await turns()
            await gone(task)
            opening.go()
            await asyncio.gather(before, after)
        stats = producer.stats()
        assert (stats.produced, stats.acknowledged, stats.in_flight) == (2, 2, 0)
        await eventually(
            lambda: "call" not in {r.code for r in producer.explain_idle().reasons}
        )

    run(main())
    assert payloads(bench) == [b"before", b"after"]


@pytest.mark.parametrize("verb", VERBS)
def test_while_there_is_no_room(bench: Bench, make: Make, verb: str) -> None:
    """The next one in the queue gets the room."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 2)
        before = asyncio.ensure_future(producer.send("t", b"before"))
        task = asyncio.ensure_future(VERBS[verb](producer))
        after = asyncio.ensure_future(producer.send("t", b"after"))
        await calls(producer, 3)
        await gone(task)
        bench.client.ack(2)
        await asyncio.gather(before, after)
        bench.auto = True
        bench.client.ack()
        assert await producer.flush(5) == 0
        assert producer.stats().produced == 5

    run(main())
    assert payloads(bench)[3:] == [b"before", b"after"]


def test_the_first_of_those_that_wait_for_room(bench: Bench, make: Make) -> None:
    """As the room comes: whichever of the two happens first, the next has its turn."""
    producer = made(make)

    async def main() -> None:
        for number in range(50):
            bench.auto, bench.limit = True, 100_000
            await producer.produce("t", b"open")
            bench.auto, bench.limit = False, 1
            await producer.send("t", b"full")
            first = asyncio.ensure_future(producer.send("t", b"first-%d" % number))
            second = asyncio.ensure_future(producer.send("t", b"second-%d" % number))
            await calls(producer, 2)
            bench.limit = 2
            bench.client.ack(1)
            await turns(number % 5)
            first.cancel()
            await second
            await asyncio.wait({first})
            bench.auto = True
            bench.client.ack()
            await eventually(lambda: producer.queue_size == 0)
            sent = payloads(bench)
            assert sent.count(b"second-%d" % number) == 1
            assert sent.count(b"first-%d" % number) <= 1
            if not first.cancelled():
                assert sent.count(b"first-%d" % number) == 1
        stats = producer.stats()
        assert stats.produced == len(bench.sent) == stats.acknowledged

    run(main())


@pytest.mark.parametrize("verb", ["produce", "send"])
def test_while_partitions_are_looked_up(bench: Bench, make: Make, verb: str) -> None:
    """The look-up ends on its thread and is used by the next one."""
    bench.topics = {"slow": 3, "t": 1}
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        with bench.park("list_topics") as asking:
            call = getattr(producer, verb)
            task = asyncio.ensure_future(call("slow", b"lost", partition_key=b"k"))
            await parked(asking)
            behind = asyncio.ensure_future(producer.produce("slow", b"behind"))
            await turns()
            await gone(task)
            asking.go()
            await behind
        await producer.produce("slow", b"next", partition_key=b"k")
        assert bench.asked.count("slow") == 1
        assert producer.stats().produced == 3

    run(main())
    assert payloads(bench) == [b"first", b"behind", b"next"]


@pytest.mark.parametrize("verb", ["produce_many", "send_many"])
def test_a_batch_of_which_a_part_found_room(
    bench: Bench, make: Make, verb: str
) -> None:
    """What was handed over goes on, the rest is withdrawn."""
    producer = made(make)
    batch = [{"topic": "t", "payload": b"%d" % number} for number in range(10)]

    async def main() -> None:
        await full(bench, producer, 2)
        task = asyncio.ensure_future(getattr(producer, verb)(batch))
        await calls(producer, 1)
        bench.client.ack(2)
        await eventually(lambda: len(bench.sent) == 5)
        await turns()
        await gone(task)
        bench.auto = True
        bench.client.ack()
        assert (await producer.produce("t", b"next")).error is None
        stats = producer.stats()
        assert (stats.produced, stats.acknowledged) == (6, 6)

    run(main())
    assert payloads(bench)[3:] == [b"0", b"1", b"next"]


def test_a_flush_of_the_buffer_of_which_a_part_found_room(
    bench: Bench, make: Make
) -> None:
    """The rest is at the front of the buffer again, in order."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 2)
        for number in range(6):
            producer.buffer("t", b"%d" % number)
        task = asyncio.ensure_future(producer.flush_buffer())
        await calls(producer, 1)
        bench.client.ack(2)
        await eventually(lambda: len(bench.sent) == 5)
        producer.buffer("t", b"newer")
        await turns()
        await gone(task)
        await eventually(lambda: producer.buffer_size == 5)
        bench.auto = True
        bench.client.ack()
        reports = await producer.flush_buffer()
        assert [each.message.payload for each in reports] == [
            b"2",
            b"3",
            b"4",
            b"5",
            b"newer",
        ]

    run(main())
    assert payloads(bench)[3:] == [b"0", b"1", b"2", b"3", b"4", b"5", b"newer"]


def test_a_produce_after_the_hand_over_goes_on(bench: Bench, make: Make) -> None:
    """Its events tell the outcome."""
    producer = AsyncProducer(make())

    async def main() -> None:
        await opened(producer)
        bench.auto = False
        task = asyncio.ensure_future(producer.produce("t", b"on its way"))
        await eventually(lambda: len(bench.sent) == 2)
        await turns()
        await gone(task)
        bench.client.ack()
        await eventually(lambda: producer.stats().acknowledged == 2)
        bench.auto = True

    run(main())
    acknowledged = [e for e in make.events if e.name == "message.acknowledged"]
    assert len(acknowledged) == 2


def test_one_of_many_that_await_a_handle(bench: Bench, make: Make) -> None:
    """The handle stays good, for the others and for later."""
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        bench.auto = False
        handle = await producer.send("t", b"x")

        async def awaited() -> Any:
            return await handle

        tasks = [asyncio.ensure_future(awaited()) for _ in range(5)]
        await turns()
        await gone(tasks[2])
        bench.client.ack()
        found = await outcomes(tasks)
        assert isinstance(found.pop(2), asyncio.CancelledError)
        assert found == [await handle] * 4
        bench.auto = True

    run(main())


@pytest.mark.parametrize("verb", ["produce", "send"])
def test_the_wait_for_room_ends_at_its_bound(
    bench: Bench, make: Make, verb: str
) -> None:
    """`queue_full`, nothing sent, and the queue behind goes on."""
    producer = made(make, wait_timeout_on_queue_full=100)

    async def main() -> None:
        await full(bench, producer, 2)
        with pytest.raises(ProduceError) as raised:
            await getattr(producer, verb)("t", b"lost")
        assert raised.value.code == "queue_full"
        assert raised.value.retriable
        assert not isinstance(raised.value, DeliveryTimeoutError)
        bench.auto = True
        bench.client.ack()
        await producer.produce("t", b"next")

    run(main())
    assert payloads(bench)[3:] == [b"next"]


def test_without_a_wait_a_full_queue_is_told_at_once(bench: Bench, make: Make) -> None:
    """`wait_on_queue_full=False`: not after a back-off, which would take a minute."""
    producer = made(make, wait_on_queue_full=False, wait_backoff_on_queue_full=60_000)

    async def main() -> None:
        await full(bench, producer, 2)
        with pytest.raises(ProduceError) as raised:
            await asyncio.wait_for(producer.send("t", b"lost"), 10)
        assert raised.value.code == "queue_full"
        bench.auto = True
        bench.client.ack()
        await producer.flush(5)

    run(main())
    assert b"lost" not in payloads(bench)


def test_a_produce_that_finds_no_room_by_its_timeout(bench: Bench, make: Make) -> None:
    """`queue_full`, and not sent; one that was handed over goes on instead."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 2)
        with pytest.raises(ProduceError) as raised:
            await producer.produce("t", b"lost", timeout=0.1)
        assert raised.value.code == "queue_full"
        bench.limit = 10
        with pytest.raises(DeliveryTimeoutError) as late:
            await producer.produce("t", b"late", timeout=0.1)
        assert late.value.checklist
        assert isinstance(late.value, TimeoutError)
        bench.auto = True
        bench.client.ack()
        await eventually(lambda: producer.stats().acknowledged == 4)

    run(main())
    assert payloads(bench)[3:] == [b"late"]


def test_a_thousand_cancellings_at_random(bench: Bench, make: Make) -> None:
    """Every message is sent once or was withdrawn; the counters agree."""
    dice = random.Random(15)
    producer = made(make)
    tasks: dict[bytes, asyncio.Future[Any]] = {}

    async def broker() -> None:
        while True:
            bench.client.ack(dice.randrange(1, 5))
            await asyncio.sleep(0.0005)

    async def main() -> None:
        await opened(producer)
        bench.auto, bench.limit = False, 7
        acknowledging = asyncio.ensure_future(broker())
        for number in range(1_000):
            payload = b"m-%d" % number
            call = producer.send if dice.random() < 0.5 else producer.produce
            tasks[payload] = asyncio.ensure_future(call("t", payload))
            await turns(dice.randrange(3))
            if dice.random() < 0.4:
                dice.choice(list(tasks.values())).cancel()
        await asyncio.wait(tasks.values())
        assert await producer.flush(5) == 0
        acknowledging.cancel()
        await asyncio.wait({acknowledging})

    run(main(), within=40)
    kept = [payload for payload, task in tasks.items() if not task.cancelled()]
    assert all(tasks[payload].exception() is None for payload in kept)
    sent = payloads(bench)[1:]
    assert len(sent) == len(set(sent))
    assert [each for each in sent if each in set(kept)] == kept
    stats = producer.stats()
    assert stats.produced == stats.acknowledged == len(sent) + 1
