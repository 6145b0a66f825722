"""A Flask application whose requests are greenlets: gunicorn app:app."""

import json
import os
from typing import Any

from flask import Flask, request

from waterdrop_py import Producer

# Opens nothing. Each worker process opens a client of its own at its first send.
producer = Producer(
    os.environ.get("KAFKA_URL", "kafka://localhost:9092"),
    idle_disconnect_timeout="3m",
)
app = Flask(__name__)


@app.post("/orders")
def create_order() -> tuple[dict[str, Any], int]:
    """Answer once the brokers have the message. Meanwhile other greenlets run."""
    order = request.get_json()
    body = json.dumps(order)
    report = producer.produce_sync("orders", body, key=order["id"], timeout=5)
    return {"partition": report.partition, "offset": report.offset}, 201


@app.post("/clicks")
def count_click() -> tuple[str, int]:
    """Answer at once. Delivery goes on, and the stop waits for it."""
    producer.produce_async("clicks", request.get_json()["page"])
    return "", 202
