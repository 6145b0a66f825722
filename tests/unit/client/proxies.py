"""A tracing wrapper of the kind of OpenTelemetry's `instrument_producer`."""

from __future__ import annotations

from typing import Any

import confluent_kafka


class Proxied(confluent_kafka.Producer):
    """A subclass whose own client is never made; it passes four methods on."""

    def __init__(self, producer: Any) -> None:
        self._wrapped = producer
        self.produced = 0

    def produce(self, topic: str, value: Any = None, *args: Any, **given: Any) -> None:
        """Count, and pass on."""
        self.produced += 1
        self._wrapped.produce(topic, *args, value=value, **given)

    def poll(self, timeout: float = -1) -> Any:
        """Pass on."""
        return self._wrapped.poll(timeout)

    def flush(self, timeout: float = -1) -> Any:
        """Pass on."""
        return self._wrapped.flush(timeout)

    def purge(
        self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True
    ) -> None:
        """Pass on."""
        self._wrapped.purge(in_queue, in_flight, blocking)

    def original_producer(self) -> Any:
        """What it wraps."""
        return self._wrapped
