"""At the exit, messages go to partitions that their topic has no more."""

from __future__ import annotations

import atexit
import types
from typing import Any

import confluent_kafka

from tests.scenarios.kit import TOPIC, make_producer, say

asked: list[str | None] = []


class Client(confluent_kafka.Producer):
    """Its first answer is from before the topic was created again."""

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Ask, and have it that there are 60 partitions."""
        found = super().list_topics(topic, timeout=timeout)
        asked.append(topic)
        if len(asked) > 1:
            return found
        old = types.SimpleNamespace(error=None, partitions=dict.fromkeys(range(60)))
        return types.SimpleNamespace(topics={topic: old})


def main() -> None:
    """Forty of them, and a close."""
    producer = make_producer(client_factory=Client)

    @atexit.register
    def late() -> None:
        producer.partition_count(TOPIC)
        producer.disconnect()  # a new client does not know the topic yet
        for number in range(40):
            producer.produce_async(TOPIC, b"x", partition_key=f"k{number}")
        producer.close(10)
        stats = producer.stats()
        say(delivered=stats.acknowledged, failed=stats.failed, asked=len(asked))


main()
