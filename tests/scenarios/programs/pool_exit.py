"""A process ends with a pool in the state that its word says."""

from __future__ import annotations

from typing import Any

from tests.scenarios.kit import SERVERS, TOPIC, WORDS, say
from waterdrop_py import ProducerPool

POOL = ProducerPool({"kafka": {"bootstrap.servers": SERVERS, "linger.ms": 50}}, size=3)
KEPT: list[Any] = []


def main() -> None:
    """Send, and end."""
    way = WORDS[0]
    for number in range(3):
        lease = POOL.acquire()
        KEPT.append(lease)
        for each in range(100):
            lease.producer.produce_async(TOPIC, f"m-{number}-{each}".encode())
    if way != "leased":
        for lease in KEPT:
            lease.release()
    if way == "retired":
        POOL.resize(1)
    say(leased=POOL.stats().leased)


main()
