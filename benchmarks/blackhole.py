"""Measures the first message after a network device has silently lost connections."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import clients
from benchmarks.measure import timed_ms, wait_until
from benchmarks.rows import Row, at_most
from benchmarks.setting import embedded
from waterdrop_py.testing import DroppingProxy

if TYPE_CHECKING:
    from benchmarks.setting import Setting

PAYLOAD = bytes(100)
PARTITION = 0
"""The same for each message, so that its leader's connection is a lost one."""
IDLE_MS = 100
BOUND_MS = 100.0


def run(setting: Setting) -> list[Row]:
    """Ours, which has disconnected by then, and bare, whose connections are lost."""
    topic = clients.new_topic()
    rounds = setting.pick(20, 10)
    with DroppingProxy(setting.broker.properties["bootstrap.servers"]) as proxy:
        mine = [_ours(proxy, topic) for _ in range(rounds)]
        bare, delivered = _bare(proxy, topic, seconds=setting.pick(70.0, 3.0))
    slowest = max(mine)
    return [
        Row(
            "first message after idleness behind a lossy network",
            "ms",
            rounds,
            slowest,
            must=at_most(BOUND_MS),
            bare=bare,
            more_than=not delivered,
            note=f"the slowest; the median is {median(mine):.2g} ms. Bare: once",
        )
    ]


def _ours(proxy: DroppingProxy, topic: str) -> float:
    broker = embedded(proxy.bootstrap_servers)
    with clients.ours(broker, idle_ms=IDLE_MS, linger_ms=0) as producer:
        producer.produce_sync(topic, PAYLOAD, partition=PARTITION)
        wait_until(lambda: str(producer.status) == "disconnected", 5.0, "disconnected")
        proxy.black_hole()
        return timed_ms(
            lambda: producer.produce_sync(topic, PAYLOAD, partition=PARTITION)
        )


def _bare(proxy: DroppingProxy, topic: str, seconds: float) -> tuple[float, bool]:
    """Milliseconds until the report or the end of the wait; whether it succeeded."""
    client = clients.bare(embedded(proxy.bootstrap_servers), linger_ms=0)
    clients.bare_send(client, topic, PAYLOAD, PARTITION)
    time.sleep(IDLE_MS / 1000)
    proxy.black_hole()
    reports: list[object] = []
    started = time.perf_counter()

    def delivered(error: object, _: object) -> None:
        reports.append(error)

    client.produce(topic, PAYLOAD, None, PARTITION, delivered)
    while not reports and time.perf_counter() - started < seconds:
        client.poll(clients.SLICE_SECONDS)
    took = (time.perf_counter() - started) * 1000
    clients.close_bare(client)
    return took, bool(reports) and reports[0] is None
