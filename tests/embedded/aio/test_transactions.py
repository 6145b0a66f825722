"""Transactions of tasks: commits, aborts, turns, and who is inside."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.aio.support import OtherLoop
from tests.embedded.support import EventLog
from tests.looping import (
    eventually,
    left_behind,
    library_threads,
    outcomes,
    run,
    turns,
)
from waterdrop_py import AbortTransaction, AsyncProducer
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    TransactionalCloseError,
    WaterdropError,
)

if TYPE_CHECKING:
    from tests.embedded.aio.support import MakeAsync

ENDS = ["transaction.started", "transaction.committed", "transaction.finished"]
ABORTS = ["transaction.started", "transaction.aborted"]


@pytest.fixture
def producer(make_async: MakeAsync) -> AsyncProducer:
    """A transactional producer."""
    return make_async(transactional=True)


@pytest.fixture
def log(producer: AsyncProducer) -> EventLog:
    """Its events."""
    return EventLog(producer.monitor)


def test_a_block_commits(producer: AsyncProducer, topic: str, log: EventLog) -> None:
    """Afterwards every handle is done."""

    async def main() -> None:
        async with producer.transaction():
            assert producer.in_transaction
            handles = [await producer.send(topic, b"%d" % n) for n in range(5)]
            reports = await producer.produce_many([{"topic": topic, "payload": b"x"}])
            assert len(reports) == 1
        assert not producer.in_transaction
        assert all(each.done() and each.exception() is None for each in handles)

    run(main())
    assert log.names("transaction.") == ENDS


@pytest.mark.parametrize("error", [LookupError, asyncio.CancelledError, SystemExit])
def test_any_exception_aborts_and_comes_out(
    producer: AsyncProducer, topic: str, log: EventLog, error: type[BaseException]
) -> None:
    """Unchanged; the next transaction commits."""

    async def main() -> None:
        with pytest.raises(error) as raised:
            async with producer.transaction():
                await producer.send(topic, b"x")
                raise error("mine")
        assert raised.value.args == ("mine",)
        async with producer.transaction():
            await producer.send(topic, b"x")

    run(main())
    assert log.names("transaction.") == [*ABORTS, *ENDS]


def test_an_abort_is_swallowed(
    producer: AsyncProducer, topic: str, log: EventLog
) -> None:
    """`AbortTransaction` ends the block, and the code after it goes on."""

    async def main() -> None:
        async with producer.transaction():
            await producer.send(topic, b"x")
            raise AbortTransaction

    run(main())
    assert log.names("transaction.") == [*ABORTS, "transaction.finished"]


def test_nested_blocks_join(producer: AsyncProducer, topic: str, log: EventLog) -> None:
    """They are one transaction."""

    async def main() -> None:
        async with producer.transaction():
            async with producer.transaction():
                await producer.send(topic, b"x")
            assert producer.in_transaction

    run(main())
    assert log.names("transaction.") == ENDS


def test_an_inner_block_that_failed_dooms_the_outer_one(
    producer: AsyncProducer, topic: str, log: EventLog
) -> None:
    """Also when its exception is caught: as the sync verb's, whose error is raised."""

    async def asynchronous() -> None:
        async with producer.transaction():
            with pytest.raises(LookupError):
                async with producer.transaction():
                    raise LookupError

    def sync() -> None:
        sync_producer = producer.sync_producer
        with (
            sync_producer.transaction(),
            pytest.raises(LookupError),
            sync_producer.transaction(),
        ):
            raise LookupError

    async def main() -> None:
        found = await outcomes([asynchronous(), asyncio.to_thread(sync)])
        assert repr(found[0]) == repr(found[1])

    run(main())
    assert log.names("transaction.") == [*ABORTS, *ABORTS]


def test_tasks_started_inside_send_into_it(
    producer: AsyncProducer, topic: str, log: EventLog
) -> None:
    """The block belongs to the context, which they inherit."""

    async def main() -> None:
        async with producer.transaction():
            await asyncio.gather(
                *[producer.produce(topic, b"%d" % number) for number in range(10)]
            )

    run(main())
    assert log.names("transaction.") == ENDS


@pytest.mark.own_process
def test_other_tasks_wait_for_their_turn(
    producer: AsyncProducer, topic: str, log: EventLog
) -> None:
    """First come, first served, without a thread each; a message from outside is no
    part of the transaction."""

    async def main() -> None:
        order: list[int] = []
        inside = asyncio.Event()
        release = asyncio.Event()

        async def first() -> None:
            async with producer.transaction():
                inside.set()
                await release.wait()

        async def other(number: int) -> None:
            async with producer.transaction():
                order.append(number)
                await producer.send(topic, b"%d" % number)

        tasks = [asyncio.ensure_future(first())]
        await inside.wait()
        for number in range(30):
            tasks.append(asyncio.ensure_future(other(number)))
            await turns(1)
        outside = asyncio.ensure_future(producer.produce(topic, b"outside"))
        await asyncio.sleep(0.2)
        assert not order
        assert not outside.done()
        await eventually(lambda: len(library_threads()) <= 8)
        release.set()
        await asyncio.gather(*tasks, outside)
        assert order == list(range(30))

    run(main(), within=60)
    assert len(log.all("transaction.committed")) == 32


def test_a_cancelled_waiter_gives_its_turn_on(
    producer: AsyncProducer, topic: str
) -> None:
    """Those behind it have theirs, in order."""

    async def main() -> None:
        order: list[int] = []
        release = asyncio.Event()

        async def other(number: int) -> None:
            async with producer.transaction():
                order.append(number)
                if number == 0:
                    await release.wait()

        tasks = []
        for number in range(6):
            tasks.append(asyncio.ensure_future(other(number)))
            await turns(2)
        await eventually(lambda: order == [0])
        for victim in (1, 3):
            tasks[victim].cancel()
        await turns(3)
        assert [task.cancelled() for task in tasks] == [
            False,
            True,
            False,
            True,
            False,
            False,
        ]
        release.set()
        await asyncio.wait(tasks)
        assert order == [0, 2, 4, 5]

    run(main(), within=60)


def test_the_wait_for_a_turn_ends_at_its_bound(make_async: MakeAsync) -> None:
    """`DeliveryTimeoutError` after `max_wait_timeout`."""
    # The first one begins within it, too: its client asks the cluster for an id.
    kafka = {"message.timeout.ms": 2_000, "transaction.timeout.ms": 60_000}
    producer = make_async(transactional=True, max_wait_timeout=2_000, kafka=kafka)

    async def main() -> None:
        release = asyncio.Event()
        inside = asyncio.Event()

        async def holder() -> None:
            async with producer.transaction():
                inside.set()
                await release.wait()

        task = asyncio.ensure_future(holder())
        await inside.wait()

        async def other() -> None:
            async with producer.transaction():
                raise AssertionError("it is not its turn")

        with pytest.raises(DeliveryTimeoutError):
            await asyncio.ensure_future(other())
        release.set()
        await task

    run(main())


def test_threads_and_loops_take_turns(
    producer: AsyncProducer, topic: str, log: EventLog
) -> None:
    """Sync blocks in threads, and blocks of another loop, beside those of tasks."""
    inside: list[None] = []
    most: list[int] = []

    async def task() -> None:
        for _ in range(5):
            async with producer.transaction():
                inside.append(None)
                most.append(len(inside))
                await producer.send(topic, b"task")
                await asyncio.sleep(0.001)
                inside.pop()

    def thread() -> None:
        for _ in range(5):
            with producer.sync_producer.transaction():
                inside.append(None)
                most.append(len(inside))
                producer.sync_producer.produce_async(topic, b"thread")
                inside.pop()

    async def main() -> None:
        with OtherLoop() as other:
            threads = [asyncio.to_thread(thread) for _ in range(2)]
            await asyncio.gather(task(), task(), other.submit(task()), *threads)

    run(main(), within=60)
    assert set(most) == {1}
    assert len(log.all("transaction.committed")) == 25


@pytest.mark.parametrize("end", ["stopped", "closed"])
def test_a_turn_of_a_task_whose_loop_has_ended(
    producer: AsyncProducer, topic: str, end: str
) -> None:
    """It is given on: the tasks of other loops that wait behind it do not notice."""
    waiting: list[asyncio.Task[Any]] = []

    async def block() -> None:
        async with producer.transaction():
            await producer.send(topic, b"x")

    async def main() -> None:
        inside, release = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            async with producer.transaction():
                inside.set()
                await release.wait()

        holder = asyncio.ensure_future(first())
        await inside.wait()
        with OtherLoop() as other:
            other.call(lambda: waiting.append(other.loop.create_task(block())))
            await other.submit(turns())
            behind = asyncio.ensure_future(block())
            await turns()
            other.stop() if end == "stopped" else other.end()
            release.set()
            await holder
            await asyncio.wait_for(behind, 10)
            if end == "stopped":  # and run again: it has its turn
                await asyncio.to_thread(other.loop.run_until_complete, waiting[0])
        left_behind(waiting)

    run(main())


def test_a_block_whose_loop_is_closed(
    producer: AsyncProducer, topic: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its transaction is aborted once its task is collected, and nothing is printed."""
    inside: list[asyncio.Task[Any]] = []
    sent: list[Any] = []

    async def block() -> None:
        async with producer.transaction():
            sent.append(await producer.send(topic, b"x"))
            await asyncio.sleep(60)

    async def main() -> None:
        await producer.produce(topic, b"open")
        with OtherLoop() as other:
            other.call(lambda: inside.append(other.loop.create_task(block())))
            await eventually(lambda: sent)
            codes = {reason.code for reason in producer.explain_idle().reasons}
            assert "transaction" in codes
        left_behind(inside)
        gc.collect()
        async with producer.transaction():
            await producer.send(topic, b"next")

    run(main())
    assert capfd.readouterr().err == ""


def test_a_block_is_entered_once(producer: AsyncProducer) -> None:
    """A second `async with` of the same object is refused while it is entered."""

    async def main() -> None:
        block = producer.transaction()
        async with block:
            with pytest.raises(WaterdropError, match="async with"):
                async with block:
                    pass

    run(main())


def test_a_close_inside_a_block_is_refused(
    producer: AsyncProducer, topic: str, log: EventLog
) -> None:
    """And the transaction is not hurt."""

    async def main() -> None:
        async with producer.transaction():
            with pytest.raises(TransactionalCloseError):
                await producer.close()
            await producer.send(topic, b"x")

    run(main())
    assert log.names("transaction.") == ENDS


def test_verbs_outside_of_a_block_have_a_transaction_each(
    producer: AsyncProducer, topic: str, log: EventLog
) -> None:
    """A batch has one for all of it."""

    async def main() -> None:
        await producer.produce(topic, b"x")
        await producer.produce_many([{"topic": topic, "payload": b"x"}] * 5)
        handle = await producer.send(topic, b"x")
        await handle

    run(main())
    assert len(log.all("transaction.committed")) == 3


def test_the_offsets_of_a_consumer_are_refused_outside(
    producer: AsyncProducer,
) -> None:
    """As with the sync verb."""
    nothing: Any = object()

    async def main() -> None:
        with pytest.raises(WaterdropError):
            await producer.mark_as_consumed(nothing, nothing)

    run(main())


@pytest.mark.parametrize("kind", ["timeout", "cancel"])
def test_a_block_that_is_cancelled_inside_is_aborted(
    producer: AsyncProducer, topic: str, log: EventLog, kind: str
) -> None:
    """Then `CancelledError` comes out, and the next one commits."""

    async def main() -> None:
        inside = asyncio.Event()

        async def block() -> None:
            async with producer.transaction():
                await producer.send(topic, b"x")
                inside.set()
                await asyncio.sleep(60)

        if kind == "timeout":
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(block(), 1)
        else:
            task = asyncio.ensure_future(block())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with producer.transaction():
            await producer.send(topic, b"x")

    run(main())
    assert log.names("transaction.") == [*ABORTS, *ENDS]
