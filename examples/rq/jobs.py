"""RQ jobs that send to Kafka: rq worker."""

import os

from waterdrop_py import Producer

# Opens nothing. RQ forks a process for each job, which opens a client of its own.
producer = Producer(
    os.environ.get("KAFKA_URL", "kafka://localhost:9092"),
    idle_disconnect_timeout="3m",
)


def publish_order(order_id: str, body: str) -> int | None:
    """Send an order, and return its offset once the brokers have it."""
    return producer.produce_sync("orders", body, key=order_id, timeout=20).offset


def count_clicks(pages: list[str]) -> None:
    """Send without waiting. All is delivered before RQ stores how the job ended."""
    for page in pages:
        producer.produce_async("clicks", page)
