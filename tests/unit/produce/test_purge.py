"""`purge()` and librdkafka's threads, of which there is one for each broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import Producer
from waterdrop_py._engine.concurrency import wakeup
from waterdrop_py._engine.produce.purge import BROKER_THREADS
from waterdrop_py.errors import ProduceError
from waterdrop_py.testing import FakeClient

if TYPE_CHECKING:
    from waterdrop_py.delivery import DeliveryHandle


class TwoBrokers(FakeClient):
    """The broker of "idle" purges at once what waits for it.

    That of "slow" purges as it has time to look: also what came meanwhile. Nothing is
    delivered before the purge.
    """

    purges = 0
    to_look = False

    def poll(self, timeout: float = -1) -> int:
        """Deliver, or serve reports of what was purged."""
        return super().poll(timeout) if self.purges else 0

    def purge(self, *given: Any, **more: Any) -> None:
        """Purge what waits, on "idle" at once."""
        super().purge(*given, **more)
        self.purges += 1
        self.to_look = True

    def produce(self, topic: str, *given: Any, **more: Any) -> None:
        """Queue a message; that wakes the thread of "slow"."""
        super().produce(topic, *given, **more)
        if topic == "slow":
            self.look()

    def look(self) -> None:
        """What the thread of "slow" does once it runs."""
        if self.to_look:
            super().purge()
        self.to_look = False


@pytest.mark.parametrize("runs", [True, False])
def test_the_next_message_is_not_purged(
    monkeypatch: pytest.MonkeyPatch, *, runs: bool
) -> None:
    """A purge gives each broker's thread the time to look."""
    clients: list[TwoBrokers] = []

    def opened(conf: dict[str, Any]) -> TwoBrokers:
        clients.append(TwoBrokers(conf))
        return clients[0]

    def sleep(duration: float) -> None:
        if runs and duration == BROKER_THREADS:
            clients[0].look()

    monkeypatch.setattr(wakeup, "sleep", sleep)
    kafka = {"bootstrap.servers": "none:9092"}
    with Producer(kafka=kafka, client_factory=opened) as producer:
        handle = producer.produce_async("idle", b"x")
        producer.purge()
        assert was_purged(handle)
        assert was_purged(producer.produce_async("slow", b"next")) is not runs


def was_purged(handle: DeliveryHandle) -> bool:
    """Whether that is its outcome."""
    error = handle.exception(5)
    assert error is None or isinstance(error, ProduceError)
    return error is not None and error.code == "purge_queue"
