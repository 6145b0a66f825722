"""The native close never returns."""

from __future__ import annotations

import threading
import time
from typing import Any

import confluent_kafka

from tests.scenarios.kit import TOPIC, make_producer, say


class Hanging(confluent_kafka.Producer):
    """Its close parks for good."""

    def close(self, *_: Any) -> Any:
        """Wait for what never comes."""
        threading.Event().wait(60)


def main() -> None:
    """`close` comes back all the same, and says what it left behind."""
    producer = make_producer(client_factory=Hanging, close_timeout=500)
    kinds: list[str] = []
    producer.monitor.subscribe(
        "error.occurred", lambda event: kinds.append(event["type"])
    )
    producer.produce_sync(TOPIC, b"one")
    started = time.monotonic()
    report = producer.close(0.5)
    say(took=time.monotonic() - started, kinds=kinds, complete=report.complete)
    say(status=str(producer.status), ended=time.monotonic())


main()
