"""Celery tasks that send to Kafka: celery -A tasks worker."""

import os

from celery import Celery

from waterdrop_py import Producer
from waterdrop_py.errors import DeliveryTimeoutError, ProduceError

app = Celery(
    "tasks", broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")
)
# Opens nothing. Each process of the pool opens a client of its own at its first send,
# and delivers what is left before it ends.
producer = Producer(
    os.environ.get("KAFKA_URL", "kafka://localhost:9092"),
    idle_disconnect_timeout="3m",
)


@app.task(
    acks_late=True,
    soft_time_limit=30,
    autoretry_for=(ProduceError,),
    dont_autoretry_for=(DeliveryTimeoutError,),
    retry_backoff=True,
    max_retries=5,
)
def publish_order(order_id: str, body: str) -> None:
    """Send an order, and end once the brokers have it.

    A `ProduceError` is final: the message was refused, or not acknowledged in time. So
    the task is retried. After a `DeliveryTimeoutError` the delivery goes on, and a
    retry could double it.
    """
    producer.produce_sync("orders", body, key=order_id, timeout=20)


@app.task
def count_click(page: str) -> None:
    """Send without waiting. The message is delivered before the process ends."""
    producer.produce_async("clicks", page)
