"""No signal handler runs while confluent-kafka constructs a client."""

from __future__ import annotations

import signal
from typing import Any

import confluent_kafka
import pytest

from waterdrop_py import Producer
from waterdrop_py.testing import FakeClient


def test_no_signal_handler_runs_inside_the_native_constructor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs right behind, and what it raises comes out of the verb."""
    order: list[str] = []

    class Interruption(BaseException):
        """What the handler raises."""

    def handler(*_: object) -> None:
        order.append("handler")
        raise Interruption

    def construct(conf: dict[str, Any]) -> FakeClient:
        if not order:
            signal.raise_signal(signal.SIGUSR1)
        order.append("constructed")
        return FakeClient(conf)

    monkeypatch.setattr(confluent_kafka, "Producer", construct)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        producer = Producer(kafka={"bootstrap.servers": "fake:9092"})
        with pytest.raises(Interruption):
            producer.produce_sync("t", b"x")
        assert order == ["constructed", "handler"]
        producer.produce_sync("t", b"y")
    finally:
        signal.signal(signal.SIGUSR1, before)
    producer.close()
