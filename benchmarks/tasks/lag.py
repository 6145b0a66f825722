"""Measures how late a loop is: what a task that sleeps 1 ms at a time sees."""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

from benchmarks import clients
from benchmarks.measure import interleave, percentile
from benchmarks.rates import PAYLOAD
from benchmarks.rows import OURS, Row, at_most
from benchmarks.tasks.contenders import BY_HAND, ByHand, Ours, disconnected
from benchmarks.tasks.table import Beside, rows
from waterdrop_py import AsyncProducer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from benchmarks.setting import Broker, Setting

SLEEP_SECONDS = 0.001
PRODUCERS = 16
CYCLES = 3
"""How often each producer opens in a round."""
SENT = 40_000
YIELD_EVERY = 200
BARE_THREADS = "bare clients in threads"


def opening(setting: Setting) -> list[Row]:
    """The lag while many producers re-open, send and close."""
    topic = clients.new_topic()
    rounds = setting.pick(15, 4)
    loop = asyncio.new_event_loop()

    def ours() -> list[float]:
        return loop.run_until_complete(lags_beside(_ours(setting.broker, topic)))

    with ThreadPoolExecutor(PRODUCERS) as threads:

        async def bare() -> None:
            running = asyncio.get_running_loop()
            jobs = [
                running.run_in_executor(threads, _bare, setting.broker, topic)
                for _ in range(PRODUCERS)
            ]
            await asyncio.gather(*jobs)

        works: dict[str, Callable[[], list[float]]] = {
            OURS: ours,
            BARE_THREADS: lambda: loop.run_until_complete(lags_beside(bare())),
        }
        interleave(1, works)
        measured = interleave(rounds, works)
    loop.close()
    return rows(
        f"the loop's lag while {PRODUCERS} producers re-open, send and close, p97",
        _percentiles(measured, 0.97),
        [Beside(BARE_THREADS, at_most(2.0), at_most(1.1))],
        unit="ms",
        n=sum(map(len, measured[OURS])),
        note=f"each opens {CYCLES} times a round",
    )


async def _ours(broker: Broker, topic: str) -> None:
    async def one() -> None:
        producer = AsyncProducer(clients.ours(broker, linger_ms=0))
        for _ in range(CYCLES - 1):
            await producer.produce(topic, PAYLOAD)
            await disconnected(producer)
        await producer.produce(topic, PAYLOAD)
        await producer.close()

    await asyncio.gather(*[one() for _ in range(PRODUCERS)])


def _bare(broker: Broker, topic: str) -> None:
    for _ in range(CYCLES):
        client = clients.bare(broker, linger_ms=0)
        clients.bare_send(client, topic, PAYLOAD)
        client.close()


def sending(setting: Setting) -> list[Row]:
    """The lag while one task sends without a pause of its own."""
    topic = clients.new_topic()
    rounds = setting.pick(15, 4)
    with (
        closing(Ours(setting.broker)) as ours,
        closing(ByHand(setting.broker)) as by_hand,
    ):
        works: dict[str, Callable[[], list[float]]] = {
            OURS: lambda: ours.run(_while_sending(_send(ours, topic))),
            BY_HAND: lambda: by_hand.run(_while_sending(_send_by_hand(by_hand, topic))),
        }
        interleave(1, works)
        measured = interleave(rounds, works)
    return rows(
        f"the loop's lag while one task sends {SENT}, p95",
        _percentiles(measured, 0.95),
        [Beside(BY_HAND, at_most(2.5), at_most(1.2))],
        unit="ms",
        n=sum(map(len, measured[OURS])),
        note=f"by hand: `asyncio.sleep(0)` after every {YIELD_EVERY} messages",
    )


async def _send(ours: Ours, topic: str) -> list[Any]:
    send = ours.send
    return [await send(topic, PAYLOAD) for _ in range(SENT)]


async def _send_by_hand(by_hand: ByHand, topic: str) -> list[Any]:
    now, futures = by_hand.now, []
    for number in range(1, SENT + 1):
        futures.append(now(topic, PAYLOAD))
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return futures


async def _while_sending(work: Coroutine[Any, Any, list[Any]]) -> list[float]:
    sending = asyncio.ensure_future(work)
    lags = await lags_beside(sending)
    for outcome in sending.result():
        await outcome
    return lags


async def lags_beside(work: Awaitable[object]) -> list[float]:
    """Milliseconds that a probe's sleeps took too long while `work` ran."""
    gc.collect()
    lags: list[float] = []
    probe = asyncio.ensure_future(_probe(lags))
    try:
        await work
    finally:
        probe.cancel()
    return lags


def _percentiles(
    measured: Mapping[str, list[list[float]]], share: float
) -> dict[str, list[float]]:
    return {
        name: [percentile(lags, share) for lags in rounds]
        for name, rounds in measured.items()
    }


async def _probe(lags: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await asyncio.sleep(SLEEP_SECONDS)
        lags.append((time.perf_counter() - started - SLEEP_SECONDS) * 1000)
