"""A service whose metrics Prometheus reads: producers that send, idle, and wake up.

Told: the port of its metrics. WORDS: the seconds for which it runs, the idle timeout in
milliseconds, the seconds for which all producers send without a pause at first, and the
pause afterwards, in idle timeouts.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server

from tests.scenarios.kit import TOPIC, WORDS, make_producer, say
from waterdrop_py import monitor
from waterdrop_py.errors import WaterdropError
from waterdrop_py.listeners import PrometheusListener

if TYPE_CHECKING:
    from waterdrop_py import Producer

SECONDS = float(WORDS[0])
IDLE_MS = int(WORDS[1])
IDS = ("orders", "payments", "emails", "audit", "clicks", "invoices")
STEADY_S = float(WORDS[2])
PAUSE = float(WORDS[3])
STATISTICS = {"statistics.interval.ms": 300}
OVER = threading.Event()


def busy(producer: Producer) -> None:
    """Send all the time, and now and then to a partition that does not exist."""
    number = 0
    while not OVER.wait(0.02):
        number += 1
        producer.produce_async(TOPIC, b"busy")
        if number % 100 == 50:
            with suppress(WaterdropError):
                producer.produce_sync(TOPIC, b"nowhere", partition=99)


def bursts(producer: Producer, turn: int) -> None:
    """Send for a moment, and be quiet for much longer, each producer for its own."""
    deadline = time.monotonic() + STEADY_S
    while time.monotonic() < deadline and not OVER.wait(IDLE_MS / 4000):
        producer.produce_sync(TOPIC, b"steady")
    pause = PAUSE * IDLE_MS / 1000 + 0.7 * turn
    while not OVER.is_set():
        for _ in range(10):
            producer.produce_sync(TOPIC, b"burst")
        OVER.wait(pause)


def keeps_a_buffer(producer: Producer) -> None:
    """Be idle with a message in the buffer, so that the disconnect is refused."""
    while not OVER.is_set():
        producer.produce_sync(TOPIC, b"first")
        producer.buffer(TOPIC, b"second")
        OVER.wait(1.5 * IDLE_MS / 1000)
        producer.flush_buffer_sync()


def main() -> None:
    """Run the threads, and serve the metrics."""
    registry = CollectorRegistry()
    monitor.subscribe(PrometheusListener(registry, statistics=True))
    server, serving = start_http_server(0, "127.0.0.1", registry)
    producers = [
        make_producer(id=name, idle_disconnect_timeout=IDLE_MS, kafka=STATISTICS)
        for name in (*IDS, *[None] * 4)
    ]
    first, *others, last = producers
    jobs = [
        partial(busy, first),
        partial(keeps_a_buffer, last),
        *(partial(bursts, each, turn) for turn, each in enumerate(others)),
    ]
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    say(port=server.server_port)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and all(each.is_alive() for each in threads):
        time.sleep(0.1)
    OVER.set()
    for thread in threads:
        thread.join(10)
    for each in producers:
        each.close()
    server.shutdown()
    serving.join(5)
    sys.exit(0)


main()
