"""What a loop sees of the library: few wake-ups, no timers, no threads, its turn."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.aio.support import (
    calls,
    counted_wakeups,
    full,
    made,
    opened,
    payloads,
)
from tests.doubles import FakeClient
from tests.looping import (
    eventually,
    library_threads,
    others,
    registered,
    run,
    suspensions,
    timers,
    turns,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import AsyncProducer

THREADS = 8
STRIDE = 1_000
"""Messages for which the loop may have to wait."""
SENT = 5_000


@pytest.mark.own_process
def test_a_send_with_an_open_client_does_not_suspend(bench: Bench, make: Make) -> None:
    """It is handed over in the calling task, without a thread."""
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        threads = set(library_threads())
        bench.auto = False
        for number in range(20):
            with pytest.raises(StopIteration) as ended:
                producer.send("t", b"%d" % number).send(None)
            assert ended.value.value.message.payload == b"%d" % number
        assert len(bench.sent) == 21
        assert set(library_threads()) <= threads
        bench.auto = True
        bench.client.ack()

    run(main())


def test_the_call_after_the_one_that_opened_does_not_suspend(
    bench: Bench, make: Make
) -> None:
    """The client is open when the first send returns, and nothing waits any more."""

    async def main() -> None:
        for _ in range(100):
            producer = made(make)
            await producer.send("t", b"opens")
            with pytest.raises(StopIteration):
                producer.send("t", b"next").send(None)

    run(main())


def test_a_produce_suspends_once(bench: Bench, make: Make) -> None:
    """For its report."""
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        for _ in range(20):
            count, report = await suspensions(producer.produce("t", b"x"))
            assert count <= 1
            assert report.error is None

    run(main())


def test_a_handle_that_is_done_does_not_suspend(bench: Bench, make: Make) -> None:
    """So awaiting thousands costs as many suspensions as reports were waited for."""
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        handles = [await producer.send("t", b"x") for _ in range(100)]
        await producer.flush(5)

        async def all_of_them() -> None:
            for handle in handles:
                await handle

        assert (await suspensions(all_of_them()))[0] == 0

    run(main())


async def _sends(producer: AsyncProducer, count: int) -> None:
    for number in range(count):
        await producer.send("t", b"%d" % number)


def _batch(count: int) -> list[dict[str, Any]]:
    return [{"topic": "t", "payload": b"%d" % number} for number in range(count)]


def _buffered(producer: AsyncProducer, count: int) -> Coroutine[Any, Any, Any]:
    producer.buffer_many(_batch(count))
    return producer.flush_buffer()


WORKS: dict[str, Callable[[AsyncProducer, int], Coroutine[Any, Any, Any]]] = {
    "send": _sends,
    "send_many": lambda producer, count: producer.send_many(_batch(count)),
    "produce_many": lambda producer, count: producer.produce_many(_batch(count)),
    "tombstone_many": lambda producer, count: producer.tombstone_many(
        [{"topic": "t", "key": b"%d" % number} for number in range(count)]
    ),
    "flush_buffer": _buffered,
}


@pytest.mark.parametrize("work", WORKS)
def test_the_loop_has_its_turn_after_a_thousand_messages(
    bench: Bench, make: Make, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that only sends, and a batch of any size, let other tasks run.

    What threads of the library hand over meanwhile does not hold the loop.
    """
    producer = made(make)
    here = threading.get_ident()
    on_the_loop: list[None] = []
    produce = FakeClient.produce

    def counting(*given: Any, **named: Any) -> Any:
        if threading.get_ident() == here:
            on_the_loop.append(None)
        return produce(*given, **named)

    monkeypatch.setattr(FakeClient, "produce", counting)

    async def main() -> None:
        await opened(producer)
        strides: list[int] = []

        async def watch() -> None:
            seen = len(on_the_loop)
            while True:
                await asyncio.sleep(0)
                strides.append(len(on_the_loop) - seen)
                seen = len(on_the_loop)

        watching = asyncio.ensure_future(watch())
        await turns(1)
        await WORKS[work](producer, SENT)
        await turns(2)
        watching.cancel()
        await asyncio.wait({watching})
        assert len(bench.client.taken) == SENT + 1
        assert max(strides) <= STRIDE

    run(main())


def test_a_task_that_sends_many_topics_lets_the_loop_run(
    bench: Bench, make: Make
) -> None:
    """The count is of all that the task sends, also with key and headers."""
    producer = made(make)

    async def many() -> None:
        for number in range(SENT):
            topic, headers = f"t{number % 7}", {"a": b"b"}
            await producer.send(topic, b"x", key=b"k", headers=headers)

    async def main() -> None:
        await opened(producer)
        count, _ = await suspensions(many())
        assert count >= SENT // STRIDE

    run(main())


def test_reports_that_come_together_wake_the_loop_once(
    bench: Bench, make: Make
) -> None:
    """Not once for each: that would be most of the loop's work in a burst."""
    producer = made(make)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await opened(producer)
        bench.auto = False
        tasks = [
            asyncio.ensure_future(producer.produce("t", b"%d" % number))
            for number in range(1_000)
        ]
        await eventually(lambda: len(bench.sent) == 1_001)
        await turns()
        with counted_wakeups(loop) as wakeups:
            bench.client.ack()
            await asyncio.gather(*tasks)
        assert len(wakeups) < 100, f"{len(wakeups)} wake-ups for 1000 reports"
        bench.auto = True

    run(main())


@pytest.mark.own_process
def test_waiting_takes_no_thread_no_timer_and_no_task(bench: Bench, make: Make) -> None:
    """500 tasks that wait for room, 500 for reports: at most eight library threads."""
    producer = made(make)
    second = made(make)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        descriptors, before = registered(loop), others()
        await opened(second)
        await full(bench, producer, 500)
        waiting = [
            asyncio.ensure_future(producer.produce("t", b"room-%d" % number))
            for number in range(500)
        ]
        reports = [
            asyncio.ensure_future(second.produce("t", b"report-%d" % number))
            for number in range(500)
        ]
        await calls(producer, 500)
        await turns()
        assert len(library_threads()) <= THREADS
        assert timers(loop) <= 2
        assert registered(loop) == descriptors
        assert others() - before == {*waiting, *reports}
        bench.auto = True
        for client in bench.clients:
            client.ack()
        await asyncio.gather(*waiting, *reports)

    run(main())


def test_opening_and_closing_run_on_library_threads(bench: Bench, make: Make) -> None:
    """The loop goes on while a client opens, while partitions are looked up, and while
    one closes."""
    bench.topics = {"slow": 2}
    producer = made(make)

    async def main() -> None:
        import threading

        here = threading.get_ident()
        seen: dict[str, int] = {}

        def noting(method: str) -> Callable[[], None]:
            def note() -> None:
                seen[method] = threading.get_ident()

            return note

        for method in ("open", "list_topics", "close", "purge"):
            bench.parks[method] = noting(method)
        await producer.produce("slow", b"x", partition_key=b"k")
        await producer.purge()
        assert await producer.disconnect()
        await producer.produce("slow", b"x")
        await producer.partition_count("slow")
        await producer.close()
        assert {"open", "list_topics", "close"} <= set(seen)
        assert here not in seen.values(), seen

    run(main())
    assert payloads(bench) == [b"x", b"x"]


@pytest.mark.parametrize("verb", ["close", "disconnect"])
def test_the_loop_runs_while_a_close_hangs(bench: Bench, make: Make, verb: str) -> None:
    """Other tasks have their turns, and another producer sends."""
    producer, other = made(make), made(make)

    async def main() -> None:
        await opened(other)
        await opened(producer)
        await eventually(lambda: producer.explain_idle().disconnectable)
        with bench.park("close") as closing:
            task = asyncio.ensure_future(getattr(producer, verb)())
            await asyncio.to_thread(closing.entered)
            for _ in range(20):
                assert (await other.produce("t", b"x")).error is None
            assert not task.done()
            closing.go()
            await task

    run(main())
