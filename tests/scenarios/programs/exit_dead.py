"""Ends with messages that no broker takes."""

from __future__ import annotations

import time

from tests.scenarios.kit import TOPIC, make_producer, say

PRODUCER = make_producer(close_timeout=1_000)
PRODUCER.monitor.subscribe(
    "error.occurred",
    lambda event: (
        say(code=getattr(event["error"], "code", ""))
        if event["type"] == "librdkafka.dispatch_error"
        else None
    ),
)
for _ in range(30):
    PRODUCER.produce_async(TOPIC or "topic", b"lost")
say(ending=time.monotonic())
