"""Messages are handed over in the order of the calls, whatever they wait for."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.aio.support import calls, full, made, opened, parked, payloads
from tests.looping import eventually, outcomes, run, turns
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench

COUNT = 100


def numbered(count: int, start: int = 0) -> list[bytes]:
    """Payloads that show their order."""
    return [b"%d" % number for number in range(start, start + count)]


def test_while_the_client_opens(bench: Bench, make: Make) -> None:
    """One client is opened, on a library thread, for all that wait."""
    producer = made(make)

    async def main() -> None:
        with bench.park("open") as opening:
            tasks = [
                asyncio.ensure_future(producer.produce("t", payload))
                for payload in numbered(COUNT)
            ]
            await parked(opening)
            await turns()
            assert not bench.clients
            opening.go()
            reports = await asyncio.gather(*tasks)
        assert [report.offset for report in reports] == list(range(COUNT))

    run(main())
    assert payloads(bench) == numbered(COUNT)
    assert len(bench.clients) == 1


def test_of_all_verbs(bench: Bench, make: Make) -> None:
    """Single messages, batches and tombstones wait in one queue."""
    producer = made(make)

    async def main() -> None:
        with bench.park("open") as opening:
            tasks: list[asyncio.Future[Any]] = []
            for payload in numbered(8, 1):
                one = {"topic": "t", "payload": payload + b"a"}
                two = {"topic": "t", "payload": payload + b"b"}
                tasks += map(
                    asyncio.ensure_future,
                    [
                        producer.send("t", payload),
                        producer.send_many([one, two]),
                        producer.produce("t", payload + b"c"),
                        producer.tombstone("t", key=payload),
                        producer.produce_many([one]),
                    ],
                )
            await parked(opening)
            opening.go()
            await asyncio.gather(*tasks)

    run(main())
    sent = [payload for _, payload in bench.sent]
    expected: list[bytes | None] = []
    for payload in numbered(8, 1):
        expected += [payload, payload + b"a", payload + b"b", payload + b"c"]
        expected += [None, payload + b"a"]
    assert sent == expected


def test_while_there_is_no_room(bench: Bench, make: Make) -> None:
    """First come, first served: no later call takes the room of one that waits."""
    producer = made(make)

    async def main() -> None:
        await full(bench, producer, 5)
        tasks = [
            asyncio.ensure_future(producer.send("t", payload))
            for payload in numbered(COUNT)
        ]
        assert await calls(producer, COUNT) >= COUNT
        done = 0
        while done < COUNT:
            bench.client.ack(3)
            if done < 30:
                bench.limit += 1  # there is room, and no report has told of it
                late = b"%d" % len(tasks)
                tasks.append(asyncio.ensure_future(producer.send("t", late)))
            await turns(1)
            await eventually(partial(_refilled, bench, tasks))
            done = sum(task.done() for task in tasks)
        bench.auto = True
        bench.client.ack()
        for handle in await asyncio.gather(*tasks):
            await handle
        assert payloads(bench)[6:] == numbered(len(tasks))

    run(main())


def _refilled(bench: Bench, tasks: list[asyncio.Task[Any]]) -> bool:
    """Only what a poll has served makes room."""
    client = bench.client
    return not client.unserved and (len(client) >= bench.limit or tasks[-1].done())


def _more(bench: Bench, handed: int) -> bool:
    return len(bench.sent) > handed


def test_a_fast_call_does_not_pass_those_that_wait(bench: Bench, make: Make) -> None:
    """A task that is served sends again at once: the others go first."""
    producer = made(make)
    sent: list[bytes] = []

    async def main() -> None:
        await full(bench, producer, 2)

        async def sender(name: bytes) -> None:
            for number in range(10):
                await producer.send("t", b"%s-%d" % (name, number))

        tasks = [asyncio.ensure_future(sender(b"%d" % n)) for n in range(5)]
        while left := sum(not task.done() for task in tasks):
            await calls(producer, left)
            bench.client.ack(1)
            handed = len(bench.sent)
            await eventually(partial(_more, bench, handed))
            await turns(3)
        sent.extend(payloads(bench)[3:])
        bench.auto = True
        bench.client.ack()
        assert await producer.flush(5) == 0

    run(main())
    rounds = [sent[start : start + 5] for start in range(0, 50, 5)]
    for number, each in enumerate(rounds):
        assert sorted(each) == [b"%d-%d" % (name, number) for name in range(5)]


def test_a_topic_whose_partitions_are_looked_up_lets_others_pass(
    bench: Bench, make: Make
) -> None:
    """What waits for the partitions of its topic is overtaken by other topics, and by
    nothing of its own topic."""
    bench.topics = {"slow": 3, "quick": 3, "t": 1}
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        with bench.park("list_topics") as asking:
            slow = [
                asyncio.ensure_future(
                    producer.produce("slow", payload, partition_key=b"k")
                )
                for payload in numbered(3)
            ]
            await parked(asking)
            slow.append(asyncio.ensure_future(producer.produce("slow", b"3")))
            await turns()
            assert (await producer.produce("quick", b"passes")).error is None
            assert not any(task.done() for task in slow)
            asking.go()
            await asyncio.gather(*slow)

    run(main())
    assert payloads(bench) == [b"first", b"passes", *numbered(4)]


def test_a_look_up_that_fails_fails_those_that_wait_for_it(
    bench: Bench, make: Make
) -> None:
    """Each has the error, nothing of it is sent, and its topic goes on."""
    bench.topics = {"t": 1}
    bench.missing = {"gone"}
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        found = await outcomes(
            producer.produce("gone", payload, partition_key=b"k")
            for payload in numbered(3)
        )
        assert [type(each) for each in found] == [ProduceError] * 3
        await producer.produce("gone", b"without a key")

    run(main())
    assert payloads(bench) == [b"first", b"without a key"]


def test_an_open_that_fails(bench: Bench, make: Make) -> None:
    """With the sync verb's error, unless a try of their own opened one; none of them
    waits on, and what was sent is in order."""
    producer = made(make)
    bench.fail("open", RuntimeError("no client"))

    async def main() -> None:
        with bench.park("open") as opening:
            tasks = [
                asyncio.ensure_future(producer.produce("t", payload))
                for payload in numbered(10)
            ]
            await parked(opening)
            await turns()
            opening.go()
            found = await outcomes(tasks)
        assert isinstance(found[0], RuntimeError)
        assert (await producer.produce("t", b"again")).error is None
        delivered = [
            payload
            for payload, each in zip(numbered(10), found, strict=True)
            if not isinstance(each, BaseException)
        ]
        assert payloads(bench) == [*delivered, b"again"]

    run(main())


@pytest.mark.parametrize("size", [1, 10, 1_000])
def test_batches_are_not_torn(bench: Bench, make: Make, size: int) -> None:
    """Each keeps its order, and reports come in that of the input."""
    producer = made(make)

    async def main() -> None:
        batches = [
            [
                {"topic": "t", "payload": b"%d-%d" % (batch, number)}
                for number in range(size)
            ]
            for batch in range(5)
        ]
        found = await asyncio.gather(*map(producer.produce_many, batches))
        for batch, reports in zip(batches, found, strict=True):
            assert [r.message.payload for r in reports] == [b["payload"] for b in batch]

    run(main())
    for batch in range(5):
        own = [each for each in payloads(bench) if each.startswith(b"%d-" % batch)]
        assert own == [b"%d-%d" % (batch, number) for number in range(size)]
