"""Measures what idle producers cost: sockets, threads, memory and processor time."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import clients
from benchmarks.isolation import side_by_side
from benchmarks.measure import wait_until
from benchmarks.process import holdings
from benchmarks.rows import Row, absolute, at_most

if TYPE_CHECKING:
    from collections.abc import Iterable
    from threading import Barrier

    from benchmarks.setting import Setting
    from waterdrop_py import Producer

PAYLOAD = bytes(100)
NEVER_MS = 3_600_000
"""Milliseconds of an idle timeout that does not pass during the benchmark."""
TOGETHER = 100
"""Producers that are connected at the same time."""
SIDE_SECONDS = 240.0
SETTLE_SECONDS = 4.0
"""Seconds after which the library's threads have ended."""


def disconnected(setting: Setting) -> list[Row]:
    """Sockets, threads and descriptors that disconnected producers hold: none."""
    topic = clients.new_topic()
    count = 100
    connect_and_disconnect(never_idle(setting, 5), topic)
    before = holdings()
    producers = never_idle(setting, count)
    _send(producers, topic)
    during = holdings()
    disconnect(producers)
    wait_until(lambda: holdings().threads <= before.threads, 10.0, "threads ended")
    after = holdings()
    for producer in producers:
        producer.close()
    names = ("sockets", "rdkafka_threads", "descriptors")
    shown = ("sockets", "librdkafka threads", "descriptors")
    return [
        absolute(
            f"{count} disconnected producers: {label}",
            getattr(after, name) - getattr(before, name),
            unit="",
            n=count,
            must=at_most(0),
            note=f"{getattr(during, name) - getattr(before, name)} while connected",
        )
        for name, label in zip(names, shown, strict=True)
    ]


def memory(setting: Setting) -> list[Row]:
    """Python memory of producers that were connected and have disconnected."""
    topic = clients.new_topic()
    count = setting.pick(10_000, 1_000)
    connect_and_disconnect(never_idle(setting, TOGETHER), topic)
    gc.collect()
    tracemalloc.start()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    producers = connect_and_disconnect(never_idle(setting, count), topic)
    time.sleep(SETTLE_SECONDS)  # library threads may still hold the last clients
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [
        absolute(
            "Python memory of a disconnected producer",
            (after - before) / len(producers) / 1024,
            unit="KB",
            n=count,
            must=at_most(5.0),
            aim=at_most(3.0),
            note="its configuration and a topic's name included",
        )
    ]


def idle_disconnected(setting: Setting) -> list[Row]:
    """Processor time of producers that were connected and have disconnected."""
    topic = clients.new_topic()
    count = setting.pick(10_000, 1_000)
    producers = connect_and_disconnect(never_idle(setting, count), topic)
    time.sleep(SETTLE_SECONDS)
    used = _cpu_ms(5.0)
    return [
        absolute(
            f"processor time of {len(producers)} disconnected producers in 5 s",
            used,
            unit="ms",
            n=1,
            must=at_most(5.0),
            note="0.1 % of a core would be 5 ms",
        )
    ]


def idle_connected(setting: Setting) -> list[Row]:
    """Processor time of open, idle clients: ours and bare ones in the same seconds.

    Each client sends before the next one is opened, so that each has one connection, to
    the leader. A client that has not sent within a second also connects to any broker.
    Both sides need as many connections: librdkafka's thread of a broker takes 27 us a
    second with a connection, and 60 us without.
    """
    count = setting.pick(500, 100)
    (mine, sockets, threads), (theirs, bare_sockets, _) = side_by_side(
        _ours_open,
        _bare_open,
        arguments=(setting, count, [setting.pick(10.0, 2.5)] * setting.pick(5, 2)),
        seconds=SIDE_SECONDS,
    )
    share, bare = median(mine), median(theirs)
    beyond = median(a - b for a, b in zip(mine, theirs, strict=True))
    return [
        absolute(
            f"{count} connected idle producers beyond bare clients",
            beyond,
            unit="% of a core",
            n=len(mine),
            must=at_most(0.5 * count / 500),
            aim=at_most(0.2 * count / 500),
            note=f"ours {share:.2f} %, bare {bare:.2f} %, no thread polled bare; "
            f"{sockets} sockets, and {bare_sockets}",
        ),
        absolute(
            f"threads of the library for {count} connected producers",
            threads,
            unit="",
            n=1,
            must=at_most(10),
        ),
    ]


def _ours_open(
    together: Barrier, setting: Setting, count: int, windows: list[float]
) -> tuple[list[float], int, int]:
    topic = clients.new_topic()
    producers = never_idle(setting, count)
    for producer in producers:
        producer.produce_sync(topic, PAYLOAD)
    shares, sockets = _shares(together, windows)
    threads = threading.active_count() - 1
    for producer in producers:
        producer.close()
    return shares, sockets, threads


def _bare_open(
    together: Barrier, setting: Setting, count: int, windows: list[float]
) -> tuple[list[float], int, int]:
    topic = clients.new_topic()
    opened = []
    for _ in range(count):
        opened.append(client := clients.bare(setting.broker, linger_ms=0))
        clients.bare_send(client, topic, PAYLOAD)
    shares, sockets = _shares(together, windows)
    for client in opened:
        clients.close_bare(client)
    return shares, sockets, 0


def _shares(together: Barrier, windows: list[float]) -> tuple[list[float], int]:
    """Percent of a core in each window, and sockets at the end.

    The windows begin in both processes at the same time.
    """
    together.wait(SIDE_SECONDS)
    time.sleep(SETTLE_SECONDS)
    shares = []
    for seconds in windows:
        together.wait(SIDE_SECONDS)
        shares.append(_cpu_ms(seconds) / seconds / 10)
    together.wait(SIDE_SECONDS)
    return shares, holdings().sockets


def never_idle(setting: Setting, count: int) -> list[Producer]:
    """Producers that nothing but `disconnect` disconnects."""
    return [
        clients.ours(setting.broker, idle_ms=NEVER_MS, linger_ms=0)
        for _ in range(count)
    ]


def connect_and_disconnect(producers: list[Producer], topic: str) -> list[Producer]:
    """Connect the producers, some at a time, and disconnect them."""
    for start in range(0, len(producers), TOGETHER):
        some = producers[start : start + TOGETHER]
        _send(some, topic)
        disconnect(some)
    return producers


def _send(producers: Iterable[Producer], topic: str) -> None:
    handles: list[Any] = [each.produce_async(topic, PAYLOAD) for each in producers]
    for handle in handles:
        handle.result(clients.BOUND_SECONDS)


def disconnect(producers: list[Producer]) -> None:
    """Disconnect the producers, and wait until all are."""
    for producer in producers:
        wait_until(producer.disconnect, 5.0, "a safe moment to disconnect")
    wait_until(
        lambda: all(str(each.status) == "disconnected" for each in producers),
        clients.BOUND_SECONDS,
        "all closed",
    )


def _cpu_ms(seconds: float) -> float:
    gc.collect()
    before = time.process_time()
    time.sleep(seconds)
    return (time.process_time() - before) * 1000
