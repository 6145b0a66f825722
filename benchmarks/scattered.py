"""Measures report latency with 100 producers that send occasional messages."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks import clients
from benchmarks.isolation import isolated
from benchmarks.measure import interleave, percentile
from benchmarks.rows import BARE, OURS, Row, at_most, compared

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.setting import Broker, Setting

PAYLOAD = bytes(100)
PRODUCERS = 100
APART_SECONDS = 0.004
"""Mean seconds between two messages: each producer sends about every 0.4 s."""
SIDE_SECONDS = 120.0
LATE_SECONDS = 10.0


def run(setting: Setting) -> list[Row]:
    """One poller for all, compared to a thread for each bare client."""
    rounds, seconds = setting.pick((7, 8.0), (1, 1.5))
    count = int(seconds / APART_SECONDS)
    contenders: dict[str, Callable[[], list[float]]] = {
        OURS: lambda: isolated(_ours, setting.broker, count, seconds=SIDE_SECONDS),
        BARE: lambda: isolated(_bare, setting.broker, count, seconds=SIDE_SECONDS),
    }
    measured = interleave(rounds, contenders)
    return [
        compared(
            f"{PRODUCERS} producers, occasional messages: report latency, {name}",
            {
                client: [percentile(each, share) for each in measured[client]]
                for client in contenders
            },
            unit="ms",
            n=rounds * count,
            must=at_most(1.5) if share == 0.99 else None,
            aim=at_most(1.1) if share == 0.99 else None,
            note="from the call to the callback; bare: a thread polls each client",
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]


def _ours(broker: Broker, count: int) -> list[float]:
    topic = clients.new_topic()
    with ExitStack() as stack:
        producers = [
            stack.enter_context(clients.ours(broker, linger_ms=0))
            for _ in range(PRODUCERS)
        ]

        def send(number: int, delivered: Callable[[], None]) -> None:
            handle = producers[number].produce_async(topic, PAYLOAD, partition=0)
            handle.add_done_callback(lambda _: delivered())

        return _now_and_then(send, count)


def _bare(broker: Broker, count: int) -> list[float]:
    topic = clients.new_topic()
    opened = [clients.bare(broker, linger_ms=0) for _ in range(PRODUCERS)]
    with ExitStack() as stack:
        for client in opened:
            stack.enter_context(clients.polled(client))

        def send(number: int, delivered: Callable[[], None]) -> None:
            def reported(_error: Any, _message: Any) -> None:
                delivered()

            client = opened[number]
            client.produce(topic, PAYLOAD, partition=0, on_delivery=reported)

        took = _now_and_then(send, count)
    for client in opened:
        clients.close_bare(client)
    return took


def _now_and_then(
    send: Callable[[int, Callable[[], None]], None], count: int
) -> list[float]:
    """Milliseconds that each report took, after all producers have connected."""
    chance = random.Random(count)
    took: list[float] = []

    def one(number: int) -> None:
        started = time.perf_counter()
        send(number, lambda: took.append((time.perf_counter() - started) * 1000))

    for number in range(PRODUCERS):
        one(number)
    _wait_for(took, PRODUCERS)
    took.clear()
    for _ in range(count):
        time.sleep(chance.expovariate(1 / APART_SECONDS))
        one(chance.randrange(PRODUCERS))
    _wait_for(took, count)
    return took


def _wait_for(took: list[float], count: int) -> None:
    deadline = time.perf_counter() + LATE_SECONDS
    while len(took) < count:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{len(took)} of {count} reports")
        time.sleep(0.01)
