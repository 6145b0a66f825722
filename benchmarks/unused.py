"""Measures what a subscriber that has left, and one that is there, cost a message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks import clients
from benchmarks.measure import interleave
from benchmarks.rates import PAYLOAD
from benchmarks.rows import BARE, OURS, Row, at_most, compared

if TYPE_CHECKING:
    from benchmarks.setting import Setting
    from waterdrop_py import Event, Message, Producer

COUNT = 10_000
USED = "step and subscriber"


def run(setting: Setting) -> list[Row]:
    """Processor time of `produce_async` in the calling thread."""
    topic = clients.new_topic()
    rounds = setting.pick(31, 11)
    with (
        clients.ours(setting.broker) as never,
        clients.ours(setting.broker) as formerly,
        clients.ours(setting.broker) as now,
    ):
        formerly.monitor.subscribe("message.produced_async", _ignore)()
        now.monitor.subscribe("message.produced_async", _ignore)
        now.middleware.append(_same)
        contenders = {
            OURS: lambda: _microseconds(formerly, topic),
            BARE: lambda: _microseconds(never, topic),
            USED: lambda: _microseconds(now, topic),
        }
        interleave(2, contenders)
        measured = interleave(rounds, contenders)
    used = measured.pop(USED)
    note = "beside a producer that never had one; processor time of produce_async"
    return [
        compared(
            "a subscriber that has left, and no middleware",
            measured,
            unit="us",
            n=rounds,
            must=at_most(1.03),
            note=note,
        ),
        compared(
            "a subscriber of message.produced_async and a middleware step",
            {OURS: used, BARE: measured[BARE]},
            unit="us",
            n=rounds,
            note=note,
        ),
    ]


def _microseconds(producer: Producer, topic: str) -> float:
    started = time.thread_time()
    for _ in range(COUNT):
        producer.produce_async(topic, PAYLOAD)
    took = time.thread_time() - started
    producer.flush(clients.BOUND_SECONDS)
    return took / COUNT * 1_000_000


def _ignore(_event: Event) -> None:
    """A subscriber that does nothing."""


def _same(message: Message) -> Message:
    return message
