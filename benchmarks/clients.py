"""Makes the clients to compare: a `Producer`, and a bare confluent_kafka.Producer."""

from __future__ import annotations

import threading
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import confluent_kafka

from waterdrop_py import Config, Producer
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.setting import Broker

SLICE_SECONDS = 0.1
"""Seconds per poll. From 0.2 s up, confluent-kafka keeps polling after a report."""
BOUND_SECONDS = 30.0
"""Seconds that a benchmark waits for anything before it fails."""

AS_OURS: dict[str, Any] = {
    "message.timeout.ms": 150_000,
    "socket.nagle.disable": True,
    "socket.keepalive.enable": True,
    "log.connection.close": False,
}
"""Properties that the library sets by default. Bare gets them too, because the rows
compare libraries, not librdkafka's settings."""


def ours(
    broker: Broker,
    *,
    idle_ms: int = 0,
    id: str | None = None,
    client_factory: Callable[..., Any] = confluent_kafka.Producer,
    **kafka: Any,
) -> Producer:
    """A producer of this library, without an open client."""
    with allow_short_idle_timeouts():
        return Producer(
            Config(
                kafka={**broker.properties, **_dotted(kafka)},
                idle_disconnect_timeout=idle_ms,
                id=id,
                client_factory=client_factory,
            )
        )


def bare(broker: Broker, **kafka: Any) -> confluent_kafka.Producer:
    """A client as applications use it without this library."""
    return confluent_kafka.Producer(
        {**broker.properties, "log_level": 0, **AS_OURS, **_dotted(kafka)}
    )


def bare_send(
    client: confluent_kafka.Producer, topic: str, payload: bytes, partition: int = -1
) -> None:
    """Send a message and poll until it is delivered."""
    reports: list[Any] = []

    def delivered(error: Any, _: Any) -> None:
        reports.append(error)

    client.produce(topic, payload, None, partition, delivered)
    while not reports:
        client.poll(SLICE_SECONDS)
    if reports[0] is not None:
        raise RuntimeError(f"not delivered: {reports[0]}")


@contextmanager
def polled(client: confluent_kafka.Producer) -> Iterator[None]:
    """Poll the client in a thread inside the block, as applications do."""
    ended: list[None] = []

    def poll() -> None:
        while not ended:
            client.poll(SLICE_SECONDS)

    thread = threading.Thread(target=poll, name="bare-poll", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.append(None)
        thread.join(BOUND_SECONDS)


def close_bare(client: confluent_kafka.Producer) -> None:
    """Close a client in bounded time, even if no broker answers."""
    client.flush(1.0)
    client.purge()
    client.poll(0)
    client.close()


def new_topic() -> str:
    """A topic name that no other benchmark uses; the first message creates it."""
    return f"bench-{uuid.uuid4().hex[:12]}"


def _dotted(kafka: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in kafka.items()}
