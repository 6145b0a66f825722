"""The native close does nothing, and somebody keeps the client."""

from __future__ import annotations

from typing import Any

import confluent_kafka

from tests.scenarios.kit import TOPIC, eventually, make_producer, say

KEPT: list[Any] = []


class Kept(confluent_kafka.Producer):
    """Closed in name only."""

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        KEPT.append(self)

    def close(self, *_: Any) -> Any:
        """Do nothing."""


def main() -> None:
    """What stays behind for a second is told of."""
    producer = make_producer(client_factory=Kept)
    found: list[tuple[int, int]] = []

    def heard(event: Any) -> None:
        if event["type"] == "producer.disconnect.incomplete":
            found.append((event["threads"], event["sockets"]))

    producer.monitor.subscribe("error.occurred", heard)
    producer.produce_sync(TOPIC, b"one")
    say(disconnected=producer.disconnect())
    say(told=eventually(lambda: bool(found), 5), found=found)
    producer.close(1)


main()
