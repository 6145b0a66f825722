"""Measures messages per second of tasks, and what they take of the loop's thread."""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import clients
from benchmarks.measure import interleave
from benchmarks.rates import PAYLOAD
from benchmarks.rows import OURS, Row, at_least, at_most
from benchmarks.tasks.contenders import (
    AIO,
    AIO_FLUSHED,
    AIOKAFKA,
    BY_HAND,
    RETRY_SECONDS,
    Aio,
    AioFlushed,
    AioKafka,
    ByHand,
    Ours,
    Spent,
    opened,
    spent,
)
from benchmarks.tasks.table import Beside, rows
from benchmarks.throughput import HEADERS, KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from benchmarks.setting import Setting
    from benchmarks.tasks.contenders import Contender

    Work = Callable[[Contender, str, int], Coroutine[Any, Any, object]]

COUNT = 20_000
TASKS = 100
BATCH = 1_000
AT_ONCE = COUNT // BATCH
QUEUE = 500
SENDERS = 50
UNMEASURED = 2
SYNC = "the sync verb"
CPU = "processor time of the loop's thread"


def hundred_tasks(setting: Setting) -> list[Row]:
    """A hundred tasks, each of which awaits its messages one by one."""
    count = setting.pick(20_000, 5_000)
    kinds = [Ours, AioKafka, ByHand]
    measured = _measure(setting, kinds, count, _tasks, linger_ms=1)
    name = f"{TASKS} tasks, each awaiting its messages"
    note = f"{count} messages a round, linger.ms=1"
    return [
        *_rates(
            name,
            measured,
            [
                Beside(BY_HAND, at_least(0.8), at_least(1.2)),
                Beside(AIOKAFKA, at_least(1.1), at_least(1.8)),
            ],
            note,
        ),
        *_cpu(
            name,
            measured,
            [
                Beside(BY_HAND, at_most(1.4), at_most(1.0)),
                Beside(AIOKAFKA, at_most(0.7), at_most(0.45)),
            ],
            note,
        ),
    ]


def gathered(setting: Setting) -> list[Row]:
    """All messages at once, each a coroutine that `gather` runs."""
    kinds = [Ours, AioKafka, Aio, AioFlushed, ByHand]
    measured = _measure(
        setting, kinds, COUNT, lambda each, topic, n: each.gathered(topic, n)
    )
    return _rates(
        f"{COUNT} produce, gathered",
        measured,
        [
            Beside(BY_HAND, at_least(0.85), at_least(1.2)),
            Beside(AIOKAFKA, at_least(1.05), at_least(1.4)),
            Beside(AIO, at_least(1.5), at_least(2.5)),
            Beside(AIO_FLUSHED),
        ],
        "AIOProducer: the last reports wait for its timer, or for a flush once all are "
        "sent",
    )


def sent(setting: Setting) -> list[Row]:
    """One task sends, then awaits every handle."""
    kinds = [Ours, AioKafka, Aio, ByHand]
    measured = _measure(
        setting, kinds, COUNT, lambda each, topic, n: each.sent(topic, n)
    )
    name = f"{COUNT} send, then every handle awaited"
    return [
        *_rates(
            name,
            measured,
            [
                Beside(BY_HAND, at_least(1.5), at_least(3)),
                Beside(AIOKAFKA, at_least(1.2), at_least(2.5)),
                Beside(AIO, at_least(1.2), at_least(2.5)),
            ],
            "AIOProducer: a flush before its futures are awaited",
        ),
        *_cpu(name, measured, [Beside(AIOKAFKA, at_most(0.6), at_most(0.3))], ""),
    ]


def keyed(setting: Setting) -> list[Row]:
    """The same with key and headers, which AIOProducer refuses."""
    measured = _measure(
        setting,
        [Ours, AioKafka, ByHand],
        COUNT,
        lambda each, topic, n: each.sent(topic, n, key=KEY, headers=HEADERS),
    )
    return _rates(
        f"{COUNT} send with key and headers, then every handle awaited",
        measured,
        [
            Beside(BY_HAND, at_least(1.3), at_least(2)),
            Beside(AIOKAFKA, at_least(1.2), at_least(2)),
        ],
        "",
    )


def produce_many(setting: Setting) -> list[Row]:
    """Batches of dicts, all batches at once."""
    topic = clients.new_topic()
    batch = [{"topic": topic, "payload": PAYLOAD} for _ in range(BATCH)]

    async def all_at_once(contender: Contender) -> None:
        await asyncio.gather(*[contender.many(batch) for _ in range(AT_ONCE)])

    kinds: list[type[Contender]] = [Ours, AioKafka, Aio]
    with (
        opened(kinds, setting.broker) as contenders,
        clients.ours(setting.broker) as producer,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):

        def sync() -> Spent:
            gc.collect()
            started = time.perf_counter()
            list(threads.map(producer.produce_many_sync, [batch] * AT_ONCE))
            return Spent(COUNT / (time.perf_counter() - started), 0)

        works: dict[str, Callable[[], Spent]] = {
            name: partial(_spent, each, all_at_once)
            for name, each in contenders.items()
        }
        works[SYNC] = sync
        interleave(UNMEASURED, works)
        measured = interleave(_rounds(setting), works)
    return _rates(
        f"produce_many of {BATCH} dicts, {AT_ONCE} at once",
        measured,
        [
            Beside(SYNC, at_least(0.6), at_least(0.95)),
            Beside(AIOKAFKA, at_least(1.6), at_least(3)),
            Beside(AIO, at_least(1.3), at_least(2.5)),
        ],
        f"the sync verb: {AT_ONCE} threads; the others: a task for each batch, which "
        "sends one by one and then awaits every future",
    )


def full_queue(setting: Setting) -> list[Row]:
    """Many tasks that wait for room in a short queue."""
    measured = _measure(
        setting,
        [Ours, ByHand],
        COUNT,
        _senders,
        queue_buffering_max_messages=QUEUE,
    )
    return _rates(
        f"{SENDERS} tasks that send into a queue of {QUEUE}",
        measured,
        [Beside(BY_HAND, at_least(1.2), at_least(3))],
        f"by hand: again after {RETRY_SECONDS * 1000:g} ms when the queue is full; "
        "each task awaits its handles at its end",
    )


async def _tasks(contender: Contender, topic: str, count: int) -> None:
    async def one() -> None:
        produce = contender.produce
        for _ in range(count // TASKS):
            await produce(topic, PAYLOAD)

    await asyncio.gather(*[one() for _ in range(TASKS)])


async def _senders(contender: Contender, topic: str, count: int) -> None:
    async def one() -> None:
        send = contender.send
        handles = [await send(topic, PAYLOAD) for _ in range(count // SENDERS)]
        for handle in handles:
            await handle

    await asyncio.gather(*[one() for _ in range(SENDERS)])


def _measure(
    setting: Setting,
    kinds: list[type[Contender]],
    count: int,
    work: Work,
    **kafka: Any,
) -> dict[str, list[Spent]]:
    topic = clients.new_topic()
    with opened(kinds, setting.broker, **kafka) as contenders:
        works: dict[str, Callable[[], Spent]] = {
            name: partial(
                lambda each: spent(each, count, work(each, topic, count)), each
            )
            for name, each in contenders.items()
        }
        interleave(UNMEASURED, works)
        return interleave(_rounds(setting), works)


def _spent(
    contender: Contender, work: Callable[[Contender], Coroutine[Any, Any, None]]
) -> Spent:
    return spent(contender, COUNT, work(contender))


def _rounds(setting: Setting) -> int:
    return setting.pick(15, 5)


def _rates(
    name: str,
    measured: Mapping[str, list[Spent]],
    besides: list[Beside],
    note: str,
) -> list[Row]:
    rates = {client: [each.rate for each in all_] for client, all_ in measured.items()}
    return rows(name, rates, besides, unit="msg/s", n=len(measured[OURS]), note=note)


def _cpu(
    name: str,
    measured: Mapping[str, list[Spent]],
    besides: list[Beside],
    note: str,
) -> list[Row]:
    cpu = {client: [each.cpu_us for each in all_] for client, all_ in measured.items()}
    return rows(
        f"{name}: {CPU}", cpu, besides, unit="us", n=len(measured[OURS]), note=note
    )
