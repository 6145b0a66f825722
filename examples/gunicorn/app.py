"""A Flask application that gunicorn loads once, before it forks its workers."""

import json
import os
from typing import Any

from flask import Flask, request

from waterdrop_py import Producer

producer = Producer(
    os.environ.get("KAFKA_URL", "kafka://localhost:9092"),
    idle_disconnect_timeout="3m",
    close_timeout="20s",  # below gunicorn's graceful_timeout
)
# Sent once, by the master. It closes its client again, so that no worker inherits its
# sockets. Each worker opens a client of its own at its first send.
producer.produce_sync("deploys", os.environ.get("RELEASE", "unknown"), timeout=10)
producer.disconnect()

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
