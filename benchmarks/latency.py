"""Measures one message on an open client, from the call to the outcome."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import clients, rivals
from benchmarks.measure import interleave, percentile, timed_ms
from benchmarks.rows import BARE, OURS, Row, at_most, compared

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.setting import Setting

PAYLOAD = bytes(100)
BLOCK = 20
BOUNDS = (("p50", 0.5, 1.25, 1.1), ("p99", 0.99, 1.5, 1.1))


def produce_sync(setting: Setting) -> list[Row]:
    """Time of `produce_sync`, compared to bare produce and poll until delivered."""
    topic = clients.new_topic()
    rounds, size = setting.pick((15, 400), (5, 120))
    client = clients.bare(setting.broker, linger_ms=0)
    kinds = rivals.kinds(setting, always=True)
    with (
        clients.ours(setting.broker, linger_ms=0) as producer,
        rivals.opened(kinds, setting.broker, 0) as others,
    ):
        send = partial(producer.produce_sync, topic, PAYLOAD)
        bare = partial(clients.bare_send, client, topic, PAYLOAD)
        contenders: dict[str, Callable[[], list[float]]] = {
            OURS: lambda: [timed_ms(send) for _ in range(BLOCK)],
            BARE: lambda: [timed_ms(bare) for _ in range(BLOCK)],
        }
        for each in others:
            contenders[each.name] = partial(each.one_by_one, topic, BLOCK, PAYLOAD)
        interleave(4, contenders)  # connections, code paths, caches
        blocks = [interleave(size // BLOCK, contenders) for _ in range(rounds)]
    clients.close_bare(client)
    judged = setting.broker.embedded
    return [
        compared(
            f"produce_sync, {name}",
            {
                client: [
                    percentile(list(itertools.chain(*block[client])), share)
                    for block in blocks
                ]
                for client in contenders
            },
            unit="ms",
            n=rounds * size,
            must=at_most(must) if judged else None,
            aim=at_most(aim) if judged else None,
            note="medians of rounds; AIOProducer: produce, then flush",
        )
        for name, share, must, aim in BOUNDS
    ]
