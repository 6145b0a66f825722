"""A Flask application for uWSGI: uwsgi uwsgi.ini --http-socket :8000."""

import json
import os
from typing import Any

from flask import Flask, request

from waterdrop_py import Producer

# With lazy-apps each worker runs this file itself, after the fork.
producer = Producer(
    os.environ.get("KAFKA_URL", "kafka://localhost:9092"),
    idle_disconnect_timeout="3m",
)
app = Flask(__name__)


@app.post("/orders")
def create_order() -> tuple[dict[str, Any], int]:
    """Answer once the brokers have the message, or after 5 s.

    Every message is waited for: uWSGI ends a busy worker without any exit handler.
    """
    order = request.get_json()
    body = json.dumps(order)
    report = producer.produce_sync("orders", body, key=order["id"], timeout=5)
    return {"partition": report.partition, "offset": report.offset}, 201
