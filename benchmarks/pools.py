"""Measures what pools hold while nobody uses them: memory, sockets and threads."""

from __future__ import annotations

import gc
import time
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from benchmarks import clients
from benchmarks.footprint import (
    PAYLOAD,
    SETTLE_SECONDS,
    TOGETHER,
    connect_and_disconnect,
    disconnect,
    never_idle,
)
from benchmarks.measure import wait_until
from benchmarks.process import allow_descriptors, holdings
from benchmarks.rows import Row, absolute, at_most
from waterdrop_py import Config, ProducerPool
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.setting import Setting
    from waterdrop_py import Producer

SIZE: Final = 10
POOLS: Final = 100
IDLE_MS: Final = 1_000
"""Milliseconds of idleness after which the pools of tenants fall asleep."""
END_SECONDS: Final = 60.0


def memory(setting: Setting) -> list[Row]:
    """Python memory of pools that were never used, and of idle ones."""
    config = Config(kafka=dict(setting.broker.properties))
    count, large = setting.pick((1_000, 10), (200, 2))
    topic = clients.new_topic()
    # What the first ones alone need.
    unused = [ProducerPool(config, size=SIZE)]
    _use_and_disconnect(_large(setting, 1), topic)
    connect_and_disconnect(never_idle(setting, TOGETHER), topic)

    per_unused = (
        _kilobytes(lambda: [ProducerPool(config, size=SIZE) for _ in range(count)])
        / count
    )
    idle = (
        _kilobytes(lambda: _use_and_disconnect(_large(setting, large), topic)) / large
    )
    producers = (
        _kilobytes(
            lambda: connect_and_disconnect(never_idle(setting, TOGETHER * large), topic)
        )
        / large
    )
    del unused
    return [
        absolute(
            f"Python memory of a pool of {SIZE} that was never used",
            per_unused,
            unit="KB",
            n=count,
            must=at_most(8.0),
            note="all have the same Config, which is not counted",
        ),
        absolute(
            f"Python memory of an idle pool of {TOGETHER}, beyond that of as many "
            "producers",
            idle - producers,
            unit="KB",
            n=large,
            must=at_most(20.0),
            note=f"all were connected and have disconnected: {idle:.0f} KB a pool, "
            f"{producers:.0f} KB {TOGETHER} producers",
        ),
    ]


def left(setting: Setting) -> list[Row]:
    """Sockets and threads of many pools that were used once, as those of tenants."""
    allow_descriptors()
    before = holdings()
    topic = clients.new_topic()
    pools = [_tenant(setting, number) for number in range(POOLS)]
    for pool in pools:
        _send_through_all(pool, topic)
    during = holdings()
    with suppress(TimeoutError):  # the rows tell
        wait_until(
            lambda: not any(pool.stats().connected for pool in pools),
            END_SECONDS,
            "all disconnected",
        )
        time.sleep(SETTLE_SECONDS)
        wait_until(
            lambda: holdings().threads <= before.threads, END_SECONDS, "threads ended"
        )
    after = holdings()
    opened = sum(pool.stats().opens for pool in pools)
    for pool in pools:
        pool.close()
    return [
        absolute(
            f"{POOLS * SIZE} producers in {POOLS} pools, used once and left: {name}",
            getattr(after, name) - getattr(before, name),
            unit="",
            n=opened,
            must=at_most(0),
            note=f"{getattr(during, name) - getattr(before, name)} after the last use; "
            f"disconnected after {IDLE_MS} ms",
        )
        for name in ("sockets", "threads")
    ]


def _tenant(setting: Setting, number: int) -> ProducerPool:
    kafka = {
        **setting.broker.properties,
        "client.id": f"tenant-{number}",
        "linger.ms": 0,
    }
    with allow_short_idle_timeouts():
        return ProducerPool(
            Config(kafka=kafka, idle_disconnect_timeout=IDLE_MS), size=SIZE
        )


def _large(setting: Setting, count: int) -> list[ProducerPool]:
    """Pools of as many producers as are connected at the same time."""
    kafka = {**setting.broker.properties, "linger.ms": 0}
    return [
        ProducerPool({"kafka": kafka}, size=TOGETHER, min_connected=0)
        for _ in range(count)
    ]


def _use_and_disconnect(pools: list[ProducerPool], topic: str) -> list[ProducerPool]:
    for pool in pools:
        disconnect(_send_through_all(pool, topic))
    return pools


def _send_through_all(pool: ProducerPool, topic: str) -> list[Producer]:
    """Send a message through each producer of a pool, and give all back."""
    leases = [pool.acquire() for _ in range(len(pool))]
    producers = [lease.producer for lease in leases]
    handles = [each.produce_async(topic, PAYLOAD) for each in producers]
    for handle in handles:
        handle.result(clients.BOUND_SECONDS)
    for lease in leases:
        lease.release()
    return producers


def _kilobytes(make: Callable[[], object]) -> float:
    """Python memory of what `make` makes."""
    gc.collect()
    tracemalloc.start()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    made = make()
    time.sleep(SETTLE_SECONDS)  # library threads may still hold the last clients
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del made
    return (after - before) / 1024
