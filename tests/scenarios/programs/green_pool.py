"""Greenlets that wait for the leases of one pool."""

from __future__ import annotations

import gevent

from tests.scenarios.green_kit import kit
from waterdrop_py import ProducerPool
from waterdrop_py.errors import PoolTimeoutError
from waterdrop_py.testing import FakeClient

POOL = ProducerPool(
    {"kafka": {"bootstrap.servers": "x:1"}, "client_factory": FakeClient},
    size=1,
    timeout=10,
)
ORDER: list[int] = []


def take(number: int) -> None:
    """Hold the lease for a moment."""
    with POOL.acquire() as producer:
        ORDER.append(number)
        producer.produce_async("t", b"x")
        gevent.sleep(0.01)


def main() -> None:
    """First come, first served; the hub runs meanwhile."""
    greenlets = [gevent.spawn(take, number) for number in range(10)]
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    kit.say(order=ORDER)
    with POOL.acquire():
        nested: list[bool] = []

        def wait() -> None:
            try:
                POOL.acquire(0.05)
            except PoolTimeoutError as error:
                nested.append("nested" in str(error))

        gevent.spawn(wait).join(5)
        wait()
        kit.say(nested=nested)
        killed = gevent.spawn(lambda: POOL.acquire(10))
        gevent.sleep(0.01)
        killed.kill(timeout=5)
    kit.say(available=POOL.stats().available, waiting=POOL.stats().waiting)
    kept: list[object] = []
    gevent.spawn(lambda: kept.append(POOL.acquire())).join(5)
    report = POOL.close(0.05)
    kit.say(others=len(report.holders))


main()
