"""Calls whose time is over while the client is opened: their messages go on, once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.aio.support import made, parked, payloads
from tests.concurrency.support import named
from tests.looping import eventually, run
from tests.unit.listeners.spans import Spans
from waterdrop_py import AsyncProducer, monitor
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py.errors import DeliveryTimeoutError, ProduceManyError
from waterdrop_py.testing import FakeClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from tests.concurrency.support import Make
    from tests.doubles import Bench

SHORT: dict[str, Any] = {
    "max_wait_timeout": 50,
    "kafka": {"message.timeout.ms": 50},
}
BATCH = [{"topic": "t", "payload": b"%d" % number} for number in range(2)]
IN_ORDER = [b"0", b"1"]


@asynccontextmanager
async def late(bench: Bench, call: Awaitable[object]) -> AsyncIterator[None]:
    """The client is being opened, and the time of `call` is over."""
    with bench.park("open") as opening:
        task = asyncio.ensure_future(call)
        await parked(opening)
        with pytest.raises(DeliveryTimeoutError, match="delivery goes on") as raised:
            await task
        assert raised.type is DeliveryTimeoutError
        yield


@pytest.mark.parametrize("verb", ["produce_many", "flush_buffer"])
def test_a_batch_is_sent_once(bench: Bench, make: Make, verb: str) -> None:
    """The error says that delivery goes on; the buffer is empty, and stays so."""
    producer = AsyncProducer(make(**SHORT))

    async def main() -> None:
        if verb == "flush_buffer":
            producer.buffer_many(BATCH)
            call: Awaitable[object] = producer.flush_buffer()
        else:
            call = producer.produce_many(BATCH)
        async with late(bench, call):
            assert producer.buffer_size == 0
        await eventually(lambda: producer.stats().acknowledged == 2)
        assert await producer.flush_buffer() == []
        assert await producer.flush(5) == 0
        assert payloads(bench) == IN_ORDER

    run(main())
    errors = named(make.events, "error.occurred")
    assert [each["type"] for each in errors] == ["messages.produce_many_sync"]


def test_a_batch_that_goes_on_and_fails_is_told_of(bench: Bench, make: Make) -> None:
    """It is not buffered again: its caller has heard that delivery goes on."""
    producer = AsyncProducer(make(**SHORT))

    async def main() -> None:
        producer.buffer_many(BATCH)
        bench.fail("open", RuntimeError("no client"))
        async with late(bench, producer.flush_buffer()):
            pass
        await eventually(lambda: len(named(make.events, "error.occurred")) == 2)
        assert producer.buffer_size == 0
        assert payloads(bench) == []

    run(main())


@pytest.mark.parametrize("waits", ["task", "thread"])
def test_a_flush_waits_for_what_goes_on(waits: str, bench: Bench, make: Make) -> None:
    """It counts what is left at its bound, and none once all is delivered."""
    sync = make(**SHORT)
    producer = AsyncProducer(sync)

    def flush(timeout: float) -> Awaitable[int]:
        if waits == "task":
            return producer.flush(timeout)
        return asyncio.to_thread(sync.flush, timeout)

    async def main() -> None:
        async with late(bench, producer.produce_many(BATCH)):
            assert await flush(0.05) == 2
            whole = asyncio.ensure_future(flush(10))
            await asyncio.sleep(0.02)
            assert not whole.done()
        assert await whole == 0
        assert payloads(bench) == IN_ORDER

    run(main())


def test_a_flush_whose_time_is_over_buffers_nothing_again(
    bench: Bench, make: Make
) -> None:
    """What it took out of the buffer goes on, and is left by its count."""
    producer = made(make)

    async def main() -> None:
        producer.buffer_many(BATCH)
        with bench.park("open") as opening:
            flush = asyncio.ensure_future(producer.flush(0.05))
            await parked(opening)
            assert await flush == 2
            assert producer.buffer_size == 0
        assert await producer.flush(10) == 0
        assert payloads(bench) == IN_ORDER

    run(main())


def test_a_batch_of_a_transaction_does_not_go_on() -> None:
    """Another thread hands over, and takes too long: the call takes its messages back,
    because its transaction is aborted. The buffer is whole again."""
    sent: list[bytes] = []

    class Noting(FakeClient):
        """Notes what it takes."""

        def _accept(self, message: Any) -> None:
            sent.append(message.value())

    kafka = {"transactional.id": "late", **SHORT["kafka"]}
    producer = AsyncProducer(**{**SHORT, "kafka": kafka}, client_factory=Noting)
    sending, hold = producer._task_verbs.queue._sending, Hold()  # noqa: SLF001

    async def main() -> None:
        await producer.connect()
        producer.buffer_many(BATCH)
        assert await asyncio.to_thread(sending.take, hold)
        with pytest.raises(ProduceManyError, match="nothing was sent") as raised:
            await producer.flush_buffer()
        assert raised.value.code == "timed_out"
        assert producer.buffer_size == 2
        sending.release(hold)
        assert len(await producer.flush_buffer()) == 2
        assert sent == IN_ORDER
        await producer.close()

    run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_a_span_ends_with_its_message(bench: Bench, make: Make, *, fails: bool) -> None:
    """And not as its caller leaves."""
    spans = Spans()
    unsubscribe = monitor.subscribe(spans.listener())
    tasks = AsyncProducer(make())

    async def main() -> None:
        if fails:
            bench.fail("open", RuntimeError("no client"))
        async with late(bench, tasks.produce("t", b"x", timeout=0.05)):
            assert spans.done == []
        await eventually(lambda: len(spans.done) == 1)

    run(main())
    unsubscribe()
    outcome: Any = spans.outcomes[0]
    assert (outcome is None) is not fails
