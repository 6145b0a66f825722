"""A Flask service that sends to Kafka: gunicorn --threads 8 app:app."""

import json
import os
from typing import Any

from flask import Flask, request

from waterdrop_py import Producer
from waterdrop_py.errors import ProduceError

# Opens nothing. Each worker process opens a client of its own at its first send, and
# closes it when the process ends.
producer = Producer(
    os.environ.get("KAFKA_URL", "kafka://localhost:9092"),
    idle_disconnect_timeout="3m",
)
app = Flask(__name__)


@app.post("/orders")
def create_order() -> tuple[dict[str, Any], int]:
    """Answer once the brokers have the message, or after 5 s."""
    order = request.get_json()
    body = json.dumps(order)
    report = producer.produce_sync("orders", body, key=order["id"], timeout=5)
    return {"partition": report.partition, "offset": report.offset}, 201


@app.post("/clicks")
def count_click() -> tuple[str, int]:
    """Answer at once. Delivery goes on, and the stop waits for it."""
    producer.produce_async("clicks", request.get_json()["page"])
    return "", 202


@app.get("/health")
def health() -> tuple[dict[str, Any], int]:
    """Answer a readiness probe: 200, or 503 while Kafka fails. Opens no client."""
    status, body = producer.health().http()
    return body, status


@app.errorhandler(ProduceError)
def kafka_failed(error: ProduceError) -> tuple[dict[str, Any], int]:
    """What a client gets when its message was not delivered."""
    return {"error": error.code}, 503
