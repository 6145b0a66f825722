"""Bare confluent_kafka clients, measured in the same run for comparison."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka
from confluent_kafka import KafkaException

from waterdrop_py.cli.demo.cluster import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.cli.demo.cluster import Target
    from waterdrop_py.cli.demo.usage import Resources, Usage

KEY: Final = b"bare"
"""The key of the messages of bare clients, which share the topic."""
DELIVERY_SECONDS: Final = 10.0
"""Seconds to wait for a report."""


class BareClient:
    """A `confluent_kafka.Producer` as an application would use it."""

    def __init__(self, target: Target) -> None:
        self._topic = target.topic
        self._client = confluent_kafka.Producer({**target.kafka(), **QUIET})

    def deliver(self, partition: int) -> None:
        """Send a message, and poll until its report has come.

        Raises `KafkaException` if it was not delivered, and `TimeoutError` if there was
        no report within 10 s.
        """
        outcome: list[Any] = []
        self._client.produce(
            self._topic,
            b"x",
            KEY,
            partition,
            on_delivery=lambda error, _: outcome.append(error),
        )
        deadline = time.monotonic() + DELIVERY_SECONDS
        while not outcome:
            self._client.poll(0.2)
            if time.monotonic() > deadline:
                raise TimeoutError(
                    "a bare client's message had no report within "
                    f"{DELIVERY_SECONDS:g} s"
                )
        if outcome[0] is not None:
            raise KafkaException(outcome[0])

    def close(self) -> None:
        """Close it at once: everything was delivered."""
        self._client.purge()
        self._client.close()


def first_delivery_ms(target: Target) -> float:
    """Milliseconds from the constructor of a new client to its first report."""
    started = time.perf_counter()
    client = BareClient(target)
    try:
        client.deliver(0)
        return (time.perf_counter() - started) * 1000
    finally:
        client.close()


def held_while_idle(
    target: Target, count: int, usage: Usage, wait: Callable[[float], object]
) -> Resources | None:
    """What `count` clients hold that have sent to every partition and are idle.

    `wait` is called with seconds.
    """
    before = usage.above_baseline()
    clients: list[BareClient] = []
    try:
        for _ in range(count):
            clients.append(BareClient(target))
            for partition in range(target.partitions):
                clients[-1].deliver(partition)
        wait(0.3)
        after = usage.above_baseline()
    finally:
        for client in clients:
            client.close()
    if before is None or after is None:
        return None
    return type(after)(*(now - then for now, then in zip(after, before, strict=True)))
