"""The loop is never held: a task that sleeps 1 ms measures its own lag meanwhile.

What is asserted is which threads the blocking calls ran on, and that no lag comes near
the time for which they blocked. The p99 is a property of the test's report.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.embedded.aio.support import Watched
from tests.embedded.support import silent
from tests.looping import Lags, outcomes, probed, run
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.embedded.aio.support import MakeAsync

    Record = Callable[[str, object], None]

HELD_MS: Final = 500.0
"""A hundred times the switch interval: much less than what would hold the loop here,
and much more than what a busy machine takes from it."""
PRODUCERS: Final = 16
WAITERS: Final = 500


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    """The calls of one test."""
    Watched.calls = []
    yield
    Watched.calls = []


def measured(
    record: Record, work: Callable[[], Coroutine[Any, Any, Any]], within: float = 60
) -> Lags:
    """The lag beside `work`; none of its blocking calls ran on the loop's thread."""
    found: list[Lags] = []

    async def main() -> None:
        async with probed() as lags:
            await work()
        found.append(lags)
        assert not Watched.on(threading.get_ident())

    run(main(), within=within)
    lags = found[0]
    record("lag_p99_ms", round(lags.p99_ms, 2))
    record("lag_max_ms", round(lags.most_ms, 2))
    record("cpu_p99_ms", round(lags.cpu_p99_ms, 2))
    print(lags)  # noqa: T201 - for the record
    assert lags.most_ms < HELD_MS
    return lags


@pytest.mark.timed
def test_producers_that_reopen_and_close_beside_a_dead_broker(
    make_async: MakeAsync, topic: str, dead: str, record_property: Record
) -> None:
    """16 of them, and one whose broker is down."""
    lost = make_async(dead, client_factory=Watched)

    async def one() -> None:
        producer = make_async(client_factory=Watched)
        for _ in range(5):
            await producer.produce(topic, b"x")
            await producer.disconnect()
        await producer.produce(topic, b"x")
        report = await producer.close()
        assert report.complete

    async def work() -> None:
        unsent = asyncio.ensure_future(lost.produce("t", b"x"))
        await asyncio.gather(*[one() for _ in range(PRODUCERS)])
        await lost.close(0.2)
        assert isinstance((await outcomes([unsent]))[0], WaterdropError)

    measured(record_property, work)
    assert {"open", "close"} <= Watched.names()


@pytest.mark.timed
def test_a_full_queue_with_five_hundred_waiters(
    make_async: MakeAsync, topic: str, record_property: Record
) -> None:
    """Each sends ten messages, and all arrive."""
    kafka = {"queue.buffering.max.messages": 100}
    producer = make_async(kafka=kafka, wait_timeout_on_queue_full=60_000)

    async def one(number: int) -> None:
        handles = [await producer.send(topic, b"%d" % number) for _ in range(10)]
        for handle in handles:
            assert (await handle).error is None

    async def work() -> None:
        await asyncio.gather(*map(one, range(WAITERS)))

    measured(record_property, work)
    assert producer.stats().acknowledged == 10 * WAITERS


@pytest.mark.timed
def test_transactions(
    make_async: MakeAsync, topic: str, record_property: Record
) -> None:
    """Four producers, blocks and single messages, commits and aborts."""
    from waterdrop_py import AbortTransaction

    producers = [
        make_async(transactional=True, client_factory=Watched) for _ in range(4)
    ]

    async def one(producer: Any) -> None:
        for number in range(5):
            async with producer.transaction():
                await producer.send(topic, b"x")
                if number % 2:
                    raise AbortTransaction
            await producer.produce(topic, b"x")

    async def work() -> None:
        await asyncio.gather(*map(one, producers))
        await asyncio.gather(*[producer.close() for producer in producers])

    measured(record_property, work)
    assert {
        "open",
        "init_transactions",
        "commit_transaction",
        "abort_transaction",
        "close",
    } <= Watched.names()


@pytest.mark.timed
def test_tls_contexts(make_async: MakeAsync, record_property: Record) -> None:
    """Clients that read the system's certificates as they open, which takes long."""

    async def work() -> None:
        with silent() as servers:
            producers = [
                make_async(
                    servers,
                    kafka={"security.protocol": "ssl"},
                    client_factory=Watched,
                )
                for _ in range(8)
            ]
            for _ in range(3):
                handles = await asyncio.gather(*[p.send("t", b"x") for p in producers])
                await asyncio.gather(*[p.purge() for p in producers])
                await outcomes(map(_awaited, handles))
                await asyncio.gather(*[p.disconnect() for p in producers])
            await asyncio.gather(*[p.close(force=True) for p in producers])

    measured(record_property, work)
    assert "open" in Watched.names()


async def _awaited(handle: Any) -> Any:
    return await handle


@pytest.mark.timed
def test_a_slow_token_provider(make_async: MakeAsync, record_property: Record) -> None:
    """It sleeps for a second, on a library thread, and may even wait for the loop."""
    threads: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        async def token() -> tuple[str, float]:
            await asyncio.sleep(0.1)
            return "token", time.time() + 3600

        def provider(_: Any) -> tuple[str, float]:
            threads.append(threading.get_ident())
            time.sleep(1.0)
            return asyncio.run_coroutine_threadsafe(token(), loop).result(10)

        with silent() as servers:
            producer = make_async(
                servers,
                kafka={
                    "security.protocol": "sasl_plaintext",
                    "sasl.mechanism": "OAUTHBEARER",
                },
                oauth_token_provider=provider,
                client_factory=Watched,
            )
            with pytest.raises(WaterdropError):
                await producer.produce("t", b"x", timeout=2.5)
            with pytest.raises(WaterdropError):
                await producer.connect(1.0)
            await producer.close(force=True)
        assert threads
        assert threading.get_ident() not in threads

    measured(record_property, work)


@pytest.mark.timed
def test_forty_thousand_sends_in_one_task(
    make_async: MakeAsync, topic: str, record_property: Record
) -> None:
    """One task that does nothing else."""
    producer = make_async()

    async def work() -> None:
        await producer.connect()
        handles = [await producer.send(topic, b"x") for _ in range(40_000)]
        assert await producer.flush(30) == 0
        assert all(handle.done() for handle in handles)

    lags = measured(record_property, work)
    # It has at least the turns that the page names.
    assert len(lags.seconds) >= 20


@pytest.mark.timed
@pytest.mark.parametrize("ask", ["connect", "health", "partition_count", "produce"])
def test_questions_to_a_server_that_never_answers(
    make_async: MakeAsync, record_property: Record, ask: str
) -> None:
    """Each waits for its bound, and the loop for nothing."""

    async def work() -> None:
        with silent() as servers:
            producer = make_async(servers, client_factory=Watched)
            calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
                "connect": lambda: producer.connect(1.0),
                "health": lambda: producer.health(deep=True, timeout=1.0),
                "partition_count": lambda: producer.partition_count("t"),
                "produce": lambda: producer.produce("t", b"x", timeout=1.0),
            }
            found = (await outcomes([calls[ask]()]))[0]
            if ask == "health":
                assert found.healthy is False  # type: ignore[union-attr]
            else:
                assert isinstance(found, WaterdropError), found
            await producer.close(force=True)

    measured(record_property, work)
