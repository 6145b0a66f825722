"""Bare confluent_kafka clients in the same run, to compare with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka
from confluent_kafka import KafkaException

from waterdrop_py.cli.demo.cluster import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.cli.demo.cluster import Stage
    from waterdrop_py.cli.demo.usage import Holding, Holdings

KEY: Final = b"bare"
"""Tells the messages of bare clients from ours in the same topic."""
DELIVERY_SECONDS: Final = 10.0


class BareClient:
    """A `confluent_kafka.Producer` as one would use it oneself."""

    def __init__(self, stage: Stage) -> None:
        self._topic = stage.topic
        self._client = confluent_kafka.Producer({**stage.kafka(), **QUIET})

    def deliver(self, partition: int) -> None:
        """Send a message, and poll until its report has come.

        Raises `KafkaException` when it was not delivered, `TimeoutError` when the
        report did not come within 10 s.
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
        """Close it; at once, because everything was delivered."""
        self._client.purge()
        self._client.close()


def first_delivery_ms(stage: Stage) -> float:
    """How long a new client takes from its constructor to its first report, in ms."""
    started = time.perf_counter()
    client = BareClient(stage)
    try:
        client.deliver(0)
        return (time.perf_counter() - started) * 1000
    finally:
        client.close()


def held_while_idle(
    stage: Stage, count: int, holdings: Holdings, wait: Callable[[float], object]
) -> Holding | None:
    """What `count` clients hold that have sent to every partition and then idle.

    `wait` is called with seconds.
    """
    before = holdings.above_baseline()
    clients: list[BareClient] = []
    try:
        for _ in range(count):
            clients.append(BareClient(stage))
            for partition in range(stage.partitions):
                clients[-1].deliver(partition)
        wait(0.3)
        after = holdings.above_baseline()
    finally:
        for client in clients:
            client.close()
    if before is None or after is None:
        return None
    return type(after)(*(now - then for now, then in zip(after, before, strict=True)))
