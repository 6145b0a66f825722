"""Pushes to an agent from a parent and from the child that it forks."""

from __future__ import annotations

import os
import sys

from datadog import DogStatsd  # type: ignore[attr-defined]

from tests.scenarios.kit import (
    SERVERS,
    TOPIC,
    WORDS,
    make_producer,
    say,
    wait_for_child,
)
from waterdrop_py import monitor
from waterdrop_py.listeners import DatadogListener


def main() -> None:
    """Parent and child send with the same producer; each closes its own."""
    statsd = DogStatsd(host="127.0.0.1", port=int(WORDS[0]), disable_telemetry=True)
    monitor.subscribe(DatadogListener(statsd, interval=0.02))
    producer = make_producer(SERVERS, id="forked")
    for _ in range(20):
        producer.produce_async(TOPIC, b"x")
    pid = os.fork()
    for _ in range(5):
        producer.produce_sync(TOPIC, b"x")
    producer.close()
    if not pid:
        sys.exit(0)
    say(child_code=wait_for_child(pid))


main()
