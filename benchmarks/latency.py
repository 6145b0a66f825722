"""How long one message takes: on an open client, and on one that has to be opened."""

from __future__ import annotations

import itertools
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from benchmarks import clients
from benchmarks.measure import alternate, median_percentile, percentile, timed_ms
from benchmarks.rows import Row, compared

if TYPE_CHECKING:
    from benchmarks.setting import Setting
    from waterdrop_py import Event

PAYLOAD = bytes(100)
BLOCK = 20
IDLE_MS = 50
SETTLE_SECONDS = 0.01


def produce_sync(setting: Setting) -> list[Row]:
    """`produce_sync` beside produce and poll until delivered, on open clients."""
    topic = clients.new_topic()
    rounds, size = setting.pick((15, 400), (5, 400))
    client = clients.bare(setting.servers, linger_ms=0)
    with clients.ours(setting.servers, linger_ms=0) as producer:

        def ours() -> list[float]:
            send = partial(producer.produce_sync, topic, PAYLOAD)
            return [timed_ms(send) for _ in range(BLOCK)]

        def bare() -> list[float]:
            send = partial(clients.bare_send, client, topic, PAYLOAD)
            return [timed_ms(send) for _ in range(BLOCK)]

        alternate(4, ours, bare)  # connections, code paths, caches
        blocks = [alternate(size // BLOCK, ours, bare) for _ in range(rounds)]
    clients.close_bare(client)
    mine = [list(itertools.chain(*each[0])) for each in blocks]
    theirs = [list(itertools.chain(*each[1])) for each in blocks]
    return [
        compared(
            f"produce_sync, {name}",
            median_percentile(mine, share),
            median_percentile(theirs, share),
            unit="ms",
            n=rounds * size,
            at_most=bound,
        )
        for name, share, bound in (("p50", 0.5, 1.4), ("p99", 0.99, 2.0))
    ]


def first_delivery(setting: Setting) -> list[Row]:
    """The first message after an idle disconnect, beside a fresh client's first."""
    topic = clients.new_topic()
    gone: SimpleQueue[Event] = SimpleQueue()
    rounds = setting.pick(200, 50)
    with clients.ours(setting.servers, idle_ms=IDLE_MS, linger_ms=0) as producer:
        producer.monitor.subscribe("producer.disconnected", gone.put)

        def ours() -> float:
            took = timed_ms(lambda: producer.produce_sync(topic, PAYLOAD))
            reason = gone.get(timeout=clients.BOUND_SECONDS)["reason"]
            if reason != "idle":
                raise RuntimeError(f"disconnected because {reason}, not idle")
            time.sleep(SETTLE_SECONDS)
            return took

        def bare() -> float:
            started = time.perf_counter()
            client = clients.bare(setting.servers, linger_ms=0)
            clients.bare_send(client, topic, PAYLOAD)
            took = (time.perf_counter() - started) * 1000
            clients.close_bare(client)
            time.sleep(SETTLE_SECONDS)
            return took

        alternate(2, ours, bare)
        mine, theirs = alternate(rounds, ours, bare)
    return [
        compared(
            f"first delivery after idle disconnect, {name}",
            percentile(mine, share),
            percentile(theirs, share),
            unit="ms",
            n=rounds,
            at_most=bound,
            note="bare: a fresh client's first delivery",
        )
        for name, share, bound in (("p50", 0.5, 1.2), ("p90", 0.9, None))
    ]
