"""Measures one message from the call to its outcome, as a task sees it."""

from __future__ import annotations

import gc
import itertools
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import clients, rivals
from benchmarks.measure import interleave, percentile
from benchmarks.rates import PAYLOAD
from benchmarks.rows import OURS, Row, at_most
from benchmarks.tasks.contenders import (
    AIO,
    AIO_FLUSHED,
    AIOKAFKA,
    BY_HAND,
    Aio,
    AioFlushed,
    AioKafka,
    ByHand,
    Ours,
    disconnected,
    opened,
)
from benchmarks.tasks.table import Beside, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.setting import Broker, Setting
    from benchmarks.tasks.contenders import Contender

BLOCK = 20
REOPENED = 5
SETTLE_SECONDS = 0.01
FRESH = "a fresh bare client"
FRESH_AIOKAFKA = "a fresh aiokafka"


def produce_one(setting: Setting) -> list[Row]:
    """Time of `await produce`, one message after another."""
    rounds, size = setting.pick((15, 200), (5, 60))
    topic = clients.new_topic()
    kinds: list[type[Contender]] = [Ours, ByHand, AioKafka, AioFlushed]
    with (
        opened(kinds, setting.broker, linger_ms=0) as contenders,
        opened([Aio], setting.broker, linger_ms=0) as alone,
    ):
        works = {
            name: partial(_block, each, topic, BLOCK)
            for name, each in contenders.items()
        }
        interleave(4, works)  # connections, code paths, caches
        measured = [interleave(size // BLOCK, works) for _ in range(rounds)]
        # It takes about a second for each.
        slow = [_block(alone[AIO], topic, 1) for _ in range(rounds)]
    times = {
        name: [
            percentile(list(itertools.chain(*block[name])), 0.5) for block in measured
        ]
        for name in contenders
    }
    times[AIO] = [percentile(block, 0.5) for block in slow]
    return rows(
        "await produce, one after another, p50",
        times,
        [
            Beside(BY_HAND, at_most(1.35), at_most(1.0)),
            Beside(AIOKAFKA, at_most(0.95), at_most(0.6)),
            Beside(AIO_FLUSHED, at_most(0.8), at_most(0.45)),
            Beside(AIO, at_most(0.01)),
        ],
        unit="ms",
        n=rounds * size,
        note="linger.ms=0; aiokafka: send_and_wait. AIOProducer alone: one message a "
        "round, which waits for its timer",
    )


def _block(contender: Contender, topic: str, count: int) -> list[float]:
    took: list[float] = contender.run(_timed(contender, topic, count))
    return took


async def _timed(contender: Contender, topic: str, count: int) -> list[float]:
    produce, took = contender.produce, []
    for _ in range(count):
        started = time.perf_counter()
        await produce(topic, PAYLOAD)
        took.append((time.perf_counter() - started) * 1000)
    return took


def first_produce(setting: Setting) -> list[Row]:
    """Time of `await produce` after a disconnect, beside a new client's first."""
    topic = clients.new_topic()
    blocks = setting.pick(15, 3)
    with closing(Ours(setting.broker, linger_ms=0)) as ours:
        _block(ours, topic, 1)
        works: dict[str, Callable[[], float]] = {
            OURS: lambda: _ours(ours, topic),
            FRESH: lambda: _bare(setting.broker, topic),
            FRESH_AIOKAFKA: lambda: _aiokafka(ours, topic),
        }
        interleave(2, works)
        measured = [interleave(REOPENED, works) for _ in range(blocks)]
    return rows(
        "first await produce after a disconnect, p30",
        {name: [percentile(block[name], 0.3) for block in measured] for name in works},
        [
            Beside(FRESH, at_most(1.6), at_most(1.2)),
            Beside(FRESH_AIOKAFKA, at_most(1.1), at_most(0.7)),
        ],
        unit="ms",
        n=blocks * REOPENED,
        note="linger.ms=0; a fresh client: its construction and its first delivery, "
        "without its close",
    )


def _ours(ours: Ours, topic: str) -> float:
    ours.run(disconnected(ours.producer))
    time.sleep(SETTLE_SECONDS)
    return _block(ours, topic, 1)[0]


def _bare(broker: Broker, topic: str) -> float:
    started = time.perf_counter()
    client = clients.bare(broker, linger_ms=0)
    clients.bare_send(client, topic, PAYLOAD)
    took = (time.perf_counter() - started) * 1000
    clients.close_bare(client)
    time.sleep(SETTLE_SECONDS)
    return took


def _aiokafka(ours: Ours, topic: str) -> float:
    async def first() -> float:
        started = time.perf_counter()
        client = await rivals.open_aiokafka(ours.broker, 0)
        await client.send_and_wait(topic, PAYLOAD)
        took = (time.perf_counter() - started) * 1000
        await client.stop()
        return took

    took: float = ours.run(first())
    gc.collect()
    time.sleep(SETTLE_SECONDS)
    return took
