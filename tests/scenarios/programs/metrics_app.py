"""A WSGI application with metrics: its workers send, and each answers a scrape for all.

`/send/N` sends N messages and tells which worker did; `/metrics` is what Prometheus
asks for. Before it forks, the master has subscribed the listener and has used the
producer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest, multiprocess

from tests.scenarios.kit import make_producer, say
from waterdrop_py import monitor
from waterdrop_py.listeners import PrometheusListener

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = os.environ["SCENARIO_TOPIC"]
monitor.subscribe(PrometheusListener(tag_labels=["team"]))
PRODUCER = make_producer(
    os.environ["SCENARIO_SERVERS"],
    id="orders",
    tags={"team": "sales", "build": "1"},
    idle_disconnect_timeout=int(os.environ["SCENARIO_IDLE_MS"]),
    close_before_fork=None,
)
PRODUCER.produce_sync(TOPIC, b"master")
say(master=os.getpid())


def application(
    environ: dict[str, Any], start_response: Callable[..., object]
) -> list[bytes]:
    """Send, or answer a scrape."""
    path = environ["PATH_INFO"]
    if path == "/metrics":
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        body = generate_latest(registry)
    else:
        for _ in range(int(path.rpartition("/")[2])):
            PRODUCER.produce_sync(TOPIC, b"sent")
        body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
